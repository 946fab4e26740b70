"""Select the rows of a study's results for tables and figures."""

from collections.abc import Collection

import pandas as pd

from diffufuse.report.cells import Row
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.patients import per_patient

SIZES = ("tiny", "small", "paper")


def stem(model: str) -> str:
    """A model's name without its size: `diffufusemed_small_no_gating` → `diffufusemed_no_gating`."""
    return "_".join(part for part in model.split("_") if part not in SIZES)


def with_own_masks(evidence: Evidence) -> list[str]:
    """The study's models, in its order, without those that only scale the probabilities of another model."""
    return [name for name, block in evidence.models.items() if "predictions_of" not in block]


def segmenting(evidence: Evidence) -> list[str]:
    """Of `with_own_masks`, those that predict masks: a fuser has images alone."""
    return [name for name in with_own_masks(evidence) if evidence.models[name].get("task") != "fuse"]


def in_domain_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """In-domain rows: models on the dataset that they were trained on."""
    return frame[frame["dataset"] == frame["trained_on"]]


def in_domain_values(
    evidence: Evidence, metrics: Collection[str], *, models: Collection[str], conditions: Collection[str] = (CLEAN,)
) -> pd.DataFrame:
    """In-domain values per patient, see `per_patient`."""
    metrics_table = evidence.in_domain
    selected = (
        metrics_table["metric"].isin(metrics)
        & metrics_table["model"].isin(models)
        & metrics_table["condition"].isin(conditions)
    )
    return per_patient(metrics_table[selected], evidence.patients)


def in_domain_statistics(
    evidence: Evidence, *, models: Collection[str], condition: str = CLEAN
) -> dict[tuple[str, str, str, str], Row]:
    """In-domain summary under one condition: (dataset, region, model, metric) → row.

    Returns:
        Datasets and regions in the order of the summary, models in the order given.
    """
    summary = in_domain_rows(evidence.summary)
    rows = summary[(summary["condition"] == condition) & summary["model"].isin(models)].to_dict("records")
    order = list(models)
    rows.sort(key=lambda row: order.index(row["model"]))
    return {(row["dataset"], row["region"], row["model"], row["metric"]): row for row in rows}


def places(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Unique pairs of dataset and region, in order."""
    return list(dict.fromkeys(zip(frame["dataset"].astype(str), frame["region"].astype(str), strict=True)))


def asked_of(evidence: Evidence, metrics: Collection[str]) -> list[str]:
    """The metrics that the study reports, in the order given."""
    return [name for name in metrics if name in evidence.asked]
