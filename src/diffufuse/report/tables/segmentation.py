"""Segmentation metrics of every model under every condition, and its training cost."""

import pandas as pd

from diffufuse.metrics.overlap import COUNTED
from diffufuse.metrics.registry import IMAGE, of_masks
from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.patients import SYSTEM
from diffufuse.report.selection import in_domain_rows, with_own_masks

PARAMETERS, MACS, STEPS, SECONDS = COSTS = ("parameters (M)", "GMACs per million voxels", "steps", "training (s)")
NOTHING = "No mask was predicted in this study."
SAMPLED = ("volume_covered", "volume_interval_ml")


def segmentation(evidence: Evidence) -> pd.DataFrame:
    """In-domain results: one row per model and condition, one column per mask metric, and the training cost.

    Metrics of probabilities are in other tables.

    Returns:
        Text. A cell is `mean [interval]`, with `n=` where undefined values were left out, or `undefined`. The column
        excluded counts the cases that the cohort sheet excludes; missed, spurious, both_empty and lost the number of
        such patients, averaged over the runs of a model; a lost one has no other value. A one-row note if all models
        only fuse images.

    Raises:
        ValueError: a reported or counted metric is not in the summary.
    """
    summary = in_domain_rows(evidence.summary)
    summary = summary[summary["model"].isin(with_own_masks(evidence)) & (summary["region"] != IMAGE)]
    if summary.empty:
        return cells.sentence(NOTHING)
    units = dict(zip(summary["metric"], summary["unit"], strict=True))
    asked = [name for name in evidence.asked if of_masks(name) and name not in SAMPLED]
    missing = [name for name in (*asked, *COUNTED) if name not in units]
    if missing:
        raise ValueError(f"metrics: expected metrics of the summary, got {', '.join(missing)}")
    headings = {name: cells.heading(name, units[name]) for name in asked}
    cost_of = costs(evidence.runs)
    rows = []
    for key, group in summary.groupby(SYSTEM, sort=False, observed=True):
        by_metric = {row["metric"]: row for row in group.to_dict("records")}
        system = dict(zip(SYSTEM, key, strict=True))
        patient_counts = {name: str(max(row[name] for row in by_metric.values())) for name in ("patients", "excluded")}
        scores = {headings[name]: cells.mean(by_metric.get(name)) for name in asked}
        counts = {name: cells.count(by_metric.get(name)) for name in COUNTED}
        rows.append(
            system
            | patient_counts
            | scores
            | counts
            | cost_of.get((str(system["trained_on"]), str(system["model"])), {})
        )
    return pd.DataFrame(rows).drop(columns="trained_on").fillna("")


def costs(runs: pd.DataFrame) -> dict[tuple[str, str], dict[str, str]]:
    """Training cost of each model, averaged over its folds and seeds.

    Operations per million voxels of logits make slices and volumes of any size comparable. Seconds are those of all
    optimizer steps, including those before an interruption, without validation.

    Args:
        runs: a frame in the schema `RUNS`.

    Returns:
        (dataset, model) → heading → text.
    """
    return {
        (str(dataset), str(model)): {
            PARAMETERS: f"{group['parameters'].mean() / 1e6:.2f}",
            MACS: cells.three_digits((group["macs_per_sample"] / group["voxels_per_sample"]).mean() / 1e3),
            STEPS: f"{group['steps'].mean():.0f}",
            SECONDS: f"{(group['steps'] * group['seconds_per_step']).mean():.0f}",
        }
        for (dataset, model), group in runs.groupby(["dataset", "model"], sort=False)
    }
