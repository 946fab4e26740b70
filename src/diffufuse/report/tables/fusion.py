"""Metrics of fused images of every model that makes some, on its own dataset and on others."""

import pandas as pd

from diffufuse.metrics.registry import ALL_METRICS, IMAGE
from diffufuse.report import cells
from diffufuse.report.evidence import CLEAN, Evidence

NOTHING = "No image was fused in this study, or no metric of fused images was asked for."


def fusion(evidence: Evidence) -> pd.DataFrame:
    """Metrics of fused images under `clean`: one row per dataset, dataset of the training and model.

    Returns:
        Text: the mean of every metric of fused images that the study reports; n counts patients or pairs. A dataset's
        own models come first, then those that were trained on others. A one-row note if nothing was fused.
    """
    asked = [name for name in evidence.asked if ALL_METRICS[name].reads == IMAGE]
    summary = evidence.summary
    rows = summary[(summary["region"] == IMAGE) & (summary["condition"] == CLEAN) & summary["metric"].isin(asked)]
    if rows.empty:
        return cells.sentence(NOTHING)
    rows = rows.assign(abroad=rows["dataset"] != rows["trained_on"])
    rows = rows.assign(place=rows["dataset"].map({name: rank for rank, name in enumerate(evidence.datasets)}))
    order = {name: rank for rank, name in enumerate(evidence.models)}
    rows = rows.assign(rank=rows["model"].map(order)).sort_values(["place", "abroad", "trained_on", "rank"])
    table = []
    for key, group in rows.groupby(["dataset", "trained_on", "model"], sort=False):
        by_metric = {row["metric"]: row for row in group.to_dict("records")}
        table.append(
            dict(zip(("dataset", "trained on", "model"), map(str, key), strict=True))
            | {"n": str(max(row["patients"] for row in by_metric.values()))}
            | {heading(name): cells.mean(by_metric.get(name)) for name in asked}
        )
    return pd.DataFrame(table)


def heading(name: str) -> str:
    """Column heading of a metric of fused images; higher is better unless it says otherwise."""
    metric = ALL_METRICS[name]
    lower = "; lower is better" if metric.better == "lower" else ""
    if metric.unit == "1":
        return f"{name} ({lower.removeprefix('; ')})" if lower else name
    return f"{name} ({metric.unit}{lower})"
