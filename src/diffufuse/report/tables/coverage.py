"""Coverage of prediction sets of voxels and of prediction intervals of volumes, and selective prediction (AURC)."""

from collections.abc import Mapping

import pandas as pd

from diffufuse.metrics.conformal import LEVEL, patients_for_a_guarantee
from diffufuse.metrics.registry import ALL_METRICS
from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.selection import asked_of, in_domain_statistics, in_domain_values
from diffufuse.report.statistics import aurc
from diffufuse.report.tables.calibration import SCOPES, calibrations_of, validation_patients

SETS = ("coverage", "coverage_inside", "coverage_outside", "set_size")
VOLUMES = ("volume_covered", "volume_interval_ml")
UNCERTAINTY = "uncertainty_body"
NOTHING = "No coverage, volume interval or uncertainty was asked for in this study."


def coverage(evidence: Evidence) -> pd.DataFrame:
    """Coverage of every model under `clean`, and AURC of its uncertainty.

    Returns:
        Text: one row per model, region and scope. The gap is that of the mean coverage to 0.95. A one-row note if there
        is nothing to report.
    """
    asked = {scope: asked_of(evidence, [name + ending for name in SETS]) for scope, ending in SCOPES.items()}
    once = asked_of(evidence, VOLUMES)
    ranked = {UNCERTAINTY, "dice"} <= set(evidence.asked)
    if not (any(asked.values()) or once or ranked):
        return cells.sentence(NOTHING)
    statistics = in_domain_statistics(evidence, models=evidence.models)
    ranking = _ranking(evidence) if ranked else {}
    rows = []
    for dataset, region, model in dict.fromkeys(key[:3] for key in statistics):
        by_metric = {name: row for (*place, name), row in statistics.items() if place == [dataset, region, model]}
        for scope in [scope for scope, names in asked.items() if names] or ["near"]:
            shown_names = [*asked[scope], *(once if scope == "near" else ())]
            if not any(name in by_metric for name in shown_names) and not ranked:
                continue
            rows.append(
                {"dataset": dataset, "region": region, "model": model, "voxels": scope}
                | _sets(by_metric, asked[scope])
                | {"guarantee": guarantee(calibrations_of(evidence, dataset, region, model))}
                | {_heading(name): _volume(by_metric.get(name)) for name in shown_names if name in VOLUMES}
                | ({"AURC of Dice": ranking.get((dataset, region, model), "")} if ranked and scope == "near" else {})
            )
    return pd.DataFrame(rows).fillna("") if rows else cells.sentence(NOTHING)


def guarantee(calibrations: pd.DataFrame) -> str:
    """Whether split-conformal prediction gives a guarantee for the next patient, as text."""
    needed = patients_for_a_guarantee()
    fewest = int(calibrations["patients"].min()) if len(calibrations) else 0
    explanation = f"{validation_patients(calibrations)} validation patients a fold, {needed} are needed"
    return f"Possible: {explanation}." if fewest >= needed else f"None: {explanation}."


def _sets(by_metric: Mapping[str, cells.Row], names: list[str]) -> dict[str, str]:
    cells_by_heading: dict[str, str] = {}
    for name in names:
        cells_by_heading[_heading(name)] = cells.mean(by_metric.get(name))
        if name.removesuffix("_body") == "coverage":
            mean = by_metric[name]["mean"] if name in by_metric else float("nan")
            cells_by_heading[f"gap to {LEVEL}"] = cells.plain(abs(mean - LEVEL), 3)
    return cells_by_heading


def _volume(row: cells.Row | None) -> str:
    return "no samples" if row is None or row["undefined"] == row["patients"] else cells.mean(row)


def _heading(name: str) -> str:
    return cells.heading(name.removesuffix("_body"), ALL_METRICS[name].unit)


def _ranking(evidence: Evidence) -> dict[tuple[str, str, str], str]:
    """(dataset, region, model) → AURC with 1 - Dice as risk, with that of random and of perfect uncertainty."""
    values = in_domain_values(evidence, ["dice", UNCERTAINTY], models=evidence.models)
    text_of = {}
    for key, group in values.groupby(["dataset", "region", "model"], sort=False, observed=True):
        wide = group.pivot(index="patient", columns="metric", values="value")
        if {"dice", UNCERTAINTY} <= set(wide):
            defined = wide.dropna(subset=["dice"])
            risk = 1 - defined["dice"].to_numpy()
            area, best = aurc(risk, defined[UNCERTAINTY].to_numpy()), aurc(risk, risk)
            random = float(risk.mean()) if risk.size else float("nan")
            text = f"{cells.plain(area, 3)} (random {cells.plain(random, 3)}, best {cells.plain(best, 3)})"
            left_out = len(wide) - len(defined)
            text_of[str(key[0]), str(key[1]), str(key[2])] = f"{text} (n={len(defined)})" if left_out else text
    return text_of
