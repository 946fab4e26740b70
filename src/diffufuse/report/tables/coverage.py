"""How often the truth lies in what a model says may be true: prediction sets of voxels, and intervals of volumes."""

from collections.abc import Mapping

import pandas as pd

from diffufuse.metrics.catalogue import METRICS
from diffufuse.metrics.conformal import LEVEL, patients_for_a_guarantee
from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.selection import asked_of, home_statistics, home_values
from diffufuse.report.statistics import aurc
from diffufuse.report.tables.calibration import SCOPES, calibrations_of, validation_patients

SETS = ("coverage", "coverage_inside", "coverage_outside", "set_size")
VOLUMES = ("volume_covered", "volume_interval_ml")
DOUBT = "uncertainty_body"
NOTHING = "No coverage, volume interval or uncertainty was asked for in this study."


def coverage(evidence: Evidence) -> pd.DataFrame:
    """Coverage of every model under `clean`, and whether it knows which patients it fails.

    Returns:
        Text: one row per model, region and scope. The gap is that of the mean coverage to 0.95. One row that says so if
        nothing was asked for.
    """
    asked = {scope: asked_of(evidence, [name + ending for name in SETS]) for scope, ending in SCOPES.items()}
    once = asked_of(evidence, VOLUMES)
    ranked = {DOUBT, "dice"} <= set(evidence.asked)
    if not (any(asked.values()) or once or ranked):
        return cells.sentence(NOTHING)
    statistics = home_statistics(evidence, models=evidence.models)
    ranking = _ranking(evidence) if ranked else {}
    rows = []
    for dataset, region, model in dict.fromkeys(key[:3] for key in statistics):
        known = {name: row for (*place, name), row in statistics.items() if place == [dataset, region, model]}
        for scope in [scope for scope, names in asked.items() if names] or ["near"]:
            shown = [*asked[scope], *(once if scope == "near" else ())]
            if not any(name in known for name in shown) and not ranked:
                continue
            rows.append(
                {"dataset": dataset, "region": region, "model": model, "voxels": scope}
                | _sets(known, asked[scope])
                | {"guarantee": guarantee(calibrations_of(evidence, dataset, region, model))}
                | {_heading(name): _volume(known.get(name)) for name in shown if name in VOLUMES}
                | ({"AURC of Dice": ranking.get((dataset, region, model), "")} if ranked and scope == "near" else {})
            )
    return pd.DataFrame(rows).fillna("") if rows else cells.sentence(NOTHING)


def guarantee(calibrations: pd.DataFrame) -> str:
    """Whether split-conformal prediction can promise anything for the next patient; a sentence."""
    needed = patients_for_a_guarantee()
    fewest = int(calibrations["patients"].min()) if len(calibrations) else 0
    told = f"{validation_patients(calibrations)} validation patients a fold, {needed} are needed"
    return f"Possible: {told}." if fewest >= needed else f"None: {told}."


def _sets(known: Mapping[str, cells.Row], names: list[str]) -> dict[str, str]:
    told: dict[str, str] = {}
    for name in names:
        told[_heading(name)] = cells.mean(known.get(name))
        if name.removesuffix("_body") == "coverage":
            mean = known[name]["mean"] if name in known else float("nan")
            told[f"gap to {LEVEL}"] = cells.plain(abs(mean - LEVEL), 3)
    return told


def _volume(row: cells.Row | None) -> str:
    return "no samples" if row is None or row["undefined"] == row["patients"] else cells.mean(row)


def _heading(name: str) -> str:
    return cells.heading(name.removesuffix("_body"), METRICS[name].unit)


def _ranking(evidence: Evidence) -> dict[tuple[str, str, str], str]:
    """(dataset, region, model) → AURC with Dice's loss as the risk, beside that of no and of perfect knowledge."""
    values = home_values(evidence, ["dice", DOUBT], models=evidence.models)
    told = {}
    for key, group in values.groupby(["dataset", "region", "model"], sort=False, observed=True):
        wide = group.pivot(index="patient", columns="metric", values="value")
        if {"dice", DOUBT} <= set(wide):
            known = wide.dropna(subset=["dice"])
            risk = 1 - known["dice"].to_numpy()
            found, best = aurc(risk, known[DOUBT].to_numpy()), aurc(risk, risk)
            random = float(risk.mean()) if risk.size else float("nan")
            text = f"{cells.plain(found, 3)} (random {cells.plain(random, 3)}, best {cells.plain(best, 3)})"
            left_out = len(wide) - len(known)
            told[str(key[0]), str(key[1]), str(key[2])] = f"{text} (n={len(known)})" if left_out else text
    return told
