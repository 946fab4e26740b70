"""Which rows of a study's evidence a table is about."""

from collections.abc import Collection

import pandas as pd

from diffufuse.report.cells import Row
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.patients import per_patient

SIZES = ("tiny", "small", "paper")
HOME = ["dataset", "region"]


def stem(model: str) -> str:
    """A model's name without its size: `diffufusemed_small_no_gating` → `diffufusemed_no_gating`."""
    return "_".join(part for part in model.split("_") if part not in SIZES)


def with_own_masks(evidence: Evidence) -> list[str]:
    """The study's models, in its order, without those whose probabilities alone are another's, scaled."""
    return [name for name, block in evidence.models.items() if "predictions_of" not in block]


def home(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of models on the dataset that they were trained on."""
    return frame[frame["dataset"] == frame["trained_on"]]


def home_values(
    evidence: Evidence, metrics: Collection[str], *, models: Collection[str], conditions: Collection[str] = (CLEAN,)
) -> pd.DataFrame:
    """One value per patient of models on the dataset that they were trained on, as `per_patient` has it."""
    found = evidence.at_home
    kept = found["metric"].isin(metrics) & found["model"].isin(models) & found["condition"].isin(conditions)
    return per_patient(found[kept], evidence.patients)


def home_statistics(
    evidence: Evidence, *, models: Collection[str], condition: str = CLEAN
) -> dict[tuple[str, str, str, str], Row]:
    """The summary under one condition: (dataset, region, model, metric) → its row, of models at home.

    Returns:
        Datasets and regions as in the summary, models in the order given.
    """
    found = home(evidence.summary)
    rows = found[(found["condition"] == condition) & found["model"].isin(models)].to_dict("records")
    order = list(models)
    rows.sort(key=lambda row: order.index(row["model"]))
    return {(row["dataset"], row["region"], row["model"], row["metric"]): row for row in rows}


def places(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Dataset and region of every row, each pair once, in order."""
    return list(dict.fromkeys(zip(frame["dataset"].astype(str), frame["region"].astype(str), strict=True)))


def asked_of(evidence: Evidence, metrics: Collection[str]) -> list[str]:
    """Those of the metrics that the study asked for, in the order given."""
    return [name for name in metrics if name in evidence.asked]
