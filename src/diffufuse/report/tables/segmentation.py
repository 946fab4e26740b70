"""How good every model is under every condition, and what it cost."""

import pandas as pd

from diffufuse.metrics.catalogue import METRICS
from diffufuse.metrics.overlap import COUNTED
from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.patients import SYSTEM
from diffufuse.report.selection import home, with_own_masks

PARAMETERS, MACS, STEPS, SECONDS = COSTS = ("parameters (M)", "GMACs per million voxels", "steps", "training (s)")
SAMPLED = ("volume_covered", "volume_interval_ml")


def segmentation(evidence: Evidence) -> pd.DataFrame:
    """A table to be read: one row per model and condition, one column per metric of masks, the costs beside them.

    Models stand on the dataset that they were trained on; what is known of probabilities is in other tables.

    Returns:
        Text. A cell is `mean [interval]`, with `n=` where undefined values were left out, or `undefined`. The column
        excluded tells the cases that the cohort sheet keeps out; missed, spurious and both_empty the number of such
        patients, averaged over the runs of a model.

    Raises:
        ValueError: a metric, or one that is counted always, is not in the summary.
    """
    summary = home(evidence.summary)
    summary = summary[summary["model"].isin(with_own_masks(evidence))]
    units = dict(zip(summary["metric"], summary["unit"], strict=True))
    asked = [name for name in evidence.asked if METRICS[name].reads in ("mask", "surface") and name not in SAMPLED]
    absent = [name for name in (*asked, *COUNTED) if name not in units]
    if absent:
        raise ValueError(f"metrics: expected metrics of the summary, got {', '.join(absent)}")
    headings = {name: cells.heading(name, units[name]) for name in asked}
    spent = costs(evidence.runs)
    rows = []
    for key, group in summary.groupby(SYSTEM, sort=False, observed=True):
        found = {row["metric"]: row for row in group.to_dict("records")}
        system = dict(zip(SYSTEM, key, strict=True))
        people = {name: str(max(row[name] for row in found.values())) for name in ("patients", "excluded")}
        scores = {headings[name]: cells.mean(found.get(name)) for name in asked}
        counts = {name: cells.count(found.get(name)) for name in COUNTED}
        rows.append(
            system | people | scores | counts | spent.get((str(system["trained_on"]), str(system["model"])), {})
        )
    return pd.DataFrame(rows).drop(columns="trained_on").fillna("")


def costs(runs: pd.DataFrame) -> dict[tuple[str, str], dict[str, str]]:
    """What a run of each model costs, averaged over its folds and seeds.

    A million voxels of logits is the unit in which slices and volumes of any size compare. Seconds are those of all
    optimizer steps, those before an interruption included; validation is not.

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
