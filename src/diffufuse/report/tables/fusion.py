"""Metrics of fused images of every model that makes some, on its own dataset and on others."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from diffufuse.metrics.registry import ALL_METRICS, IMAGE
from diffufuse.report import cells
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.roles import learned
from diffufuse.report.ties import TIE_TOLERANCE

NOTHING = "No image was fused in this study, or no metric of fused images was asked for."
NO_TRAINING = "nothing"
KEY = ["dataset", "trained on", "model"]


def fusion(evidence: Evidence) -> pd.DataFrame:
    """Metrics of fused images under `clean`: one row per dataset, dataset of the training and model.

    Returns:
        Text: the mean of every metric of fused images that the study reports; n counts patients or pairs. A dataset's
        own models come first, then those that were trained on others, then fusers without training, which are the same
        whatever they are tested beside and have one row. The best mean of a dataset is marked. A one-row note if
        nothing was fused.
    """
    asked = asked_of_images(evidence)
    rows = of_fused(evidence.summary, evidence)
    if rows.empty:
        return cells.sentence(NOTHING)
    return pd.DataFrame([row for _, group in rows.groupby("dataset", sort=False) for row in _of_dataset(group, asked)])


def _of_dataset(rows: pd.DataFrame, asked: Sequence[str]) -> list[dict[str, str]]:
    keys: list[dict[str, str]] = []
    found: list[dict[str, Any]] = []
    for _, group in rows.groupby(KEY, sort=False):
        keys.append({name: str(group[name].iloc[0]) for name in KEY})
        found.append({row["metric"]: row for row in group.to_dict("records")})
    leaders = {name: best([row[name]["mean"] if name in row else math.nan for row in found], name) for name in asked}
    table = []
    for place, (key, row) in enumerate(zip(keys, found, strict=True)):
        told = {name: cells.mean(row.get(name)) for name in asked}
        shown = {heading(name): cells.marked(told[name]) if place in leaders[name] else told[name] for name in asked}
        table.append({**key, "n": str(max(metric["patients"] for metric in row.values())), **shown})
    return table


def asked_of_images(evidence: Evidence) -> list[str]:
    """The metrics of fused images that the study reports, in its order."""
    return [name for name in evidence.asked if ALL_METRICS[name].reads == IMAGE]


def of_fused(frame: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """The rows of fused images under `clean`, of the metrics that the study reports.

    Args:
        frame: the study's summary or its metrics.
        evidence: results of the study.

    Returns:
        The same columns and `trained on`, by dataset in the study's order; of each, own models first, then those of
        other datasets, then fusers without training, which were `trained on` nothing and have the rows of one dataset.
    """
    asked = asked_of_images(evidence)
    rows = frame[(frame["region"] == IMAGE) & (frame["condition"] == CLEAN) & frame["metric"].isin(asked)]
    rule = ~rows["model"].map({name: learned(evidence.models, name) for name in evidence.models}).astype(bool)
    first = rows.groupby(["dataset", "model"])["trained_on"].transform("first")
    rows = rows[~rule | (rows["trained_on"] == first)]
    order = {
        "place": rows["dataset"].map(_ranks(evidence.datasets)),
        "group": (rows["dataset"] != rows["trained_on"]).astype(int).mask(rule, 2),
        "home": rows["trained_on"].mask(rule, ""),
        "rank": rows["model"].map(_ranks(evidence.models)),
    }
    ordered = rows.assign(**{"trained on": rows["trained_on"].mask(rule, NO_TRAINING)} | order)
    return ordered.sort_values(list(order), kind="stable").drop(columns=list(order))


def best(means: Sequence[float], metric: str) -> Collection[int]:
    """The places of the best of several means; none where there is no other to be better than."""
    sign = -1 if ALL_METRICS[metric].better == "lower" else 1
    signed = [sign * value for value in means if not math.isnan(value)]
    if len(signed) < 2:
        return ()
    top = max(signed)
    return [place for place, value in enumerate(means) if math.isclose(sign * value, top, rel_tol=TIE_TOLERANCE)]


def _ranks(names: Any) -> dict[str, int]:
    return {name: rank for rank, name in enumerate(names)}


def heading(name: str) -> str:
    """Column heading of a metric of fused images; higher is better unless it says otherwise."""
    metric = ALL_METRICS[name]
    lower = "; lower is better" if metric.better == "lower" else ""
    if metric.unit == "1":
        return f"{name} ({lower.removeprefix('; ')})" if lower else name
    return f"{name} ({metric.unit}{lower})"
