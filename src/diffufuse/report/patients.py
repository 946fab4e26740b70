"""Per-patient values and statistics over patients."""

import math
from collections.abc import Mapping

import pandas as pd

from diffufuse.evaluate.schemas import METRICS
from diffufuse.files.records import none_if_nan
from diffufuse.metrics.registry import ALL_METRICS, CORE_OF_IMAGES, of_masks
from diffufuse.report.schemas import SUMMARY
from diffufuse.report.statistics import bootstrap_interval
from diffufuse.seeds import seed_of

SYSTEM = ["dataset", "condition", "trained_on", "model", "region"]
QUANTITY = [*SYSTEM, "metric", "unit"]
CLEAN = "clean"
HEADLINE = ("dice", "hd95", "ece", "psnr", "ssim", "qabf")
PROBABILITIES_IN_GIT = ("ece", "brier", "nll")
METRICS_IN_GIT = (
    *filter(of_masks, ALL_METRICS),
    *PROBABILITIES_IN_GIT,
    *CORE_OF_IMAGES,
)
PATIENT_VALUES = [
    "dataset",
    "patient",
    "case",
    "trained_on",
    "model",
    "condition",
    "fold",
    "seed",
    "region",
    "metric",
    "value",
]
VALUE = [name for name in METRICS.names if name not in ("value", "unit")]


def per_patient(metrics: pd.DataFrame, patients: Mapping[str, str]) -> pd.DataFrame:
    """One value per patient: the mean over the examinations of a patient and over the seeds and folds of a model.

    Patients are independent, but their examinations and the runs of one model are not, so these are averaged first.

    Args:
        metrics: a frame in the schema `METRICS`.
        patients: case → patient, from the cohort.

    Returns:
        Columns dataset, condition, trained_on, model, region, metric, unit, patient, value, in order of first
        appearance. The value is NaN if it is undefined for any examination or run of the patient.

    Raises:
        ValueError: a case has no patient, or a value is duplicated.
    """
    unassigned = sorted(set(metrics["case"]) - set(patients))
    if unassigned:
        raise ValueError(f"patients: expected every case of the metrics, got none for {', '.join(unassigned)}")
    duplicates = metrics[metrics.duplicated(VALUE)]
    if len(duplicates):
        raise ValueError(f"metrics: expected each value once, got twice {duplicates.iloc[0][VALUE].to_dict()}")
    with_patient = metrics.assign(patient=metrics["case"].map(dict(patients)))
    values = with_patient.groupby([*QUANTITY, "patient"], sort=False, observed=True)["value"]
    return values.mean().where(values.count() == values.size()).reset_index()


def patient_statistics(metrics: pd.DataFrame, patients: Mapping[str, str], *, study_seed: int) -> pd.DataFrame:
    """Statistics over patients of every metric, region, model and condition.

    Args:
        metrics: a frame in the schema `METRICS`.
        patients: case → patient, from the cohort.
        study_seed: seed of the study, for the bootstrap.

    Returns:
        One row per dataset, condition, model, region and metric. `patients` counts all, `undefined` those without a
        value, which are left out of the statistics; the interval is that of `bootstrap_interval` at 95 %.

    Raises:
        ValueError: a case has no patient, or a value is duplicated.
    """
    rows = [
        dict(zip(QUANTITY, key, strict=True))
        | _statistics(group["value"], seed_of(study_seed, "bootstrap", *map(str, key)))
        for key, group in per_patient(metrics, patients).groupby(QUANTITY, sort=False, observed=True)
    ]
    return pd.DataFrame(rows, columns=None if rows else [name for name in SUMMARY.names if name != "excluded"])


def summarize(
    metrics: pd.DataFrame, patients: Mapping[str, str], *, excluded: Mapping[str, int], study_seed: int
) -> pd.DataFrame:
    """The summary of a study: statistics over patients, and the number of excluded cases.

    Args:
        metrics: a frame in the schema `METRICS`.
        patients: case → patient, from the cohort.
        excluded: dataset → number of cases that its cohort sheet excludes.
        study_seed: seed of the study, for the bootstrap.

    Returns:
        A frame in the schema `SUMMARY`, see `patient_statistics`.

    Raises:
        ValueError: a case has no patient, or a value is duplicated.
    """
    statistics = patient_statistics(metrics, patients, study_seed=study_seed)
    return statistics.assign(excluded=statistics["dataset"].map(dict(excluded)))[SUMMARY.names]


def headline(summary: pd.DataFrame) -> dict[str, float | None]:
    """Headline metrics to compare two versions of a study: means over patients of every model under `clean`.

    Args:
        summary: a frame in the schema `SUMMARY`.

    Returns:
        `dataset/model/region/metric` → mean, in-domain; an undefined mean is None.
    """
    in_domain = (summary["dataset"] == summary["trained_on"]) & (summary["condition"] == CLEAN)
    rows = summary[in_domain & summary["metric"].isin(HEADLINE)]
    path = ["dataset", "model", "region", "metric"]
    return {"/".join(row[name] for name in path): none_if_nan(row["mean"]) for row in rows.to_dict("records")}


def patient_values(metrics: pd.DataFrame, patients: Mapping[str, str]) -> pd.DataFrame:
    """Per-case values of the metrics of masks, of probabilities near the region and of fused images, for Git.

    Args:
        metrics: a frame in the schema `METRICS`.
        patients: case → patient, from the cohort.

    Returns:
        Columns of `PATIENT_VALUES`, `value` to six significant digits; empty where it is undefined.
    """
    selected = metrics[metrics["metric"].isin([name for name in METRICS_IN_GIT if name in set(metrics["metric"])])]
    rows = selected.assign(patient=selected["case"].map(dict(patients)))[PATIENT_VALUES]
    rows = rows.assign(value=[f"{value:.6g}" if math.isfinite(value) else "" for value in rows["value"]])
    return rows.sort_values(PATIENT_VALUES[:-1], kind="stable").reset_index(drop=True)


def _statistics(values: pd.Series, seed: int) -> dict[str, float]:
    defined = values.dropna()
    low, high = bootstrap_interval(defined.to_numpy(), seed=seed)
    return {
        "patients": len(values),
        "undefined": len(values) - len(defined),
        "mean": float(defined.mean()),
        "mean_low": low,
        "mean_high": high,
        "median": float(defined.median()),
        "minimum": float(defined.min()),
        "maximum": float(defined.max()),
    }
