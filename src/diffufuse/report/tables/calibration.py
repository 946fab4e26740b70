"""Calibration and discrimination of every model."""

import pandas as pd

from diffufuse.metrics.calibration import brier, ece, nll
from diffufuse.metrics.forecast import Forecast
from diffufuse.metrics.registry import ALL_METRICS
from diffufuse.report import cells
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.selection import asked_of, in_domain_statistics

SHOWN = ("ece", "ace", "mce", "ece_equal_mass", "brier", "nll", "prevalence", "auc", "ap")
POOLED = {"ece": ece, "brier": brier, "nll": nll}
SCOPES = {"near": "", "body": "_body"}
NOTHING = "No metric of probabilities was asked for in this study, and no forecast was kept."


def calibration(evidence: Evidence) -> pd.DataFrame:
    """Calibration and discrimination of every model under `clean`: near the region, and in the whole body.

    Returns:
        Text: one row per model, region and scope. First the means over patients of the reported metrics, then metrics
            of
        the pooled voxels of all patients. A model with scaled probabilities has the mean of its folds' temperatures; T
        = 1 is an unscaled model. A one-row note if there is nothing to report.
    """
    statistics = in_domain_statistics(evidence, models=evidence.models)
    pooled = pooled_forecasts(evidence)
    keys = dict.fromkeys([*(key[:3] for key in statistics), *(key[:3] for key in pooled)])
    asked = {scope: asked_of(evidence, [name + ending for name in SHOWN]) for scope, ending in SCOPES.items()}
    rows = []
    for dataset, region, model in keys:
        for scope, names in asked.items():
            by_metric = {name: statistics.get((dataset, region, model, name)) for name in names}
            defined = [row for row in by_metric.values() if row]
            forecast = pooled.get((dataset, region, model, scope))
            if defined or forecast:
                rows.append(
                    {"dataset": dataset, "region": region, "model": model}
                    | _scaling(evidence, dataset, region, model)
                    | {"voxels": scope, "patients": str(defined[0]["patients"]) if defined else ""}
                    | {_heading(name): cells.mean(row) for name, row in by_metric.items()}
                    | {f"pooled {_heading(name)}": _of(name, forecast) for name in POOLED}
                )
    if not rows:
        return cells.sentence(NOTHING)
    return cells.without_empty(
        pd.DataFrame(rows).fillna(""), "T fitted on", *(f"pooled {_heading(name)}" for name in POOLED)
    )


def pooled_forecasts(evidence: Evidence) -> dict[tuple[str, str, str, str], Forecast]:
    """(dataset, region, model, scope) → in-domain forecast of all voxels under `clean`."""
    frame = evidence.forecasts
    selected = frame[(frame["dataset"] == frame["trained_on"]) & (frame["condition"] == CLEAN)]
    return {
        (str(key[0]), str(key[1]), str(key[2]), str(key[3])): Forecast(
            *(counts[name].to_numpy("int64") for name in ("level", "inside", "outside"))
        )
        for key, group in selected.groupby(["dataset", "region", "model", "scope"], sort=False)
        for counts in [group.groupby("level", as_index=False)[["inside", "outside"]].sum()]
    }


def calibrations_of(evidence: Evidence, dataset: str, region: str, model: str) -> pd.DataFrame:
    """Calibration of a model's runs on validation patients: one row per fold and seed."""
    frame = evidence.calibrations
    own = frame[(frame["dataset"] == dataset) & (frame["region"] == region)]
    names = [model, evidence.models.get(model, {}).get("predictions_of")]
    return next((own[own["model"] == name] for name in names if name in set(own["model"])), own.iloc[:0])


def validation_patients(calibrations: pd.DataFrame) -> str:
    """Number of validation patients per run: one number, or a range."""
    counts = sorted(set(calibrations["patients"]))
    return " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]]))) if counts else "0"


def _scaling(evidence: Evidence, dataset: str, region: str, model: str) -> dict[str, str]:
    if evidence.models[model].get("scaling") != "temperature":
        return {"T": "1", "T fitted on": ""}
    fitted = calibrations_of(evidence, dataset, region, model)
    return {
        "T": cells.plain(float(fitted["temperature"].mean()), 2),
        "T fitted on": f"{validation_patients(fitted)} patients a fold",
    }


def _heading(name: str) -> str:
    return cells.heading(name.removesuffix("_body"), ALL_METRICS[name].unit)


def _of(name: str, forecast: Forecast | None) -> str:
    return cells.plain(POOLED[name](forecast), 3) if forecast else ""
