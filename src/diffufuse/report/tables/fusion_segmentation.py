"""Segmentation of fused and of raw images: every region, and the difference to the best pipeline and to the control."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.roles import DIRECT, DISJOINT, GAME, JOINT, controls, of_kind, roles
from diffufuse.report.selection import asked_of, in_domain_values
from diffufuse.report.statistics import bootstrap_interval
from diffufuse.report.tables.comparison import paired
from diffufuse.seeds import seed_of

SHOWN = ("dice", "iou")
MEAN = "mean"
GROUPS = {DISJOINT: "disjoint pipeline", DIRECT: "raw modalities", JOINT: "one loss", GAME: "game"}
NOTHING = "No fused image is segmented in this study, or the study does not measure Dice."


def fusion_segmentation(evidence: Evidence) -> pd.DataFrame:
    """Dice and IoU of every region, under `clean`: pipelines of a fuser and a follower, raw modalities, and the game.

    Returns:
        Text: one row per dataset and model, with the mean of each patient over `averaged` regions if there are several.
        The last columns are paired differences of that Dice to the best disjoint pipeline and to the follower on two
        channels, with Wilcoxon's p, not adjusted. A one-row note if no fused image is segmented.
    """
    found = roles(evidence)
    models = [name for kind in GROUPS for name in of_kind(found, kind)]
    if not of_kind(found, DISJOINT, JOINT, GAME):
        return cells.sentence(NOTHING)
    values = by_region(evidence, models)
    rows = []
    for _, of_dataset in values.groupby("dataset", sort=False):
        against = {
            "the best pipeline": best(of_dataset, of_kind(found, DISJOINT)),
            "two channels": next(iter(controls(found, 2)), None),
        }
        tested = set(of_dataset["model"])
        rows += [
            {"dataset": str(of_dataset.iloc[0]["dataset"]), "group": GROUPS[found[name].kind], "model": name}
            | scores(of_dataset, name, evidence)
            | {
                key: text
                for title, other in against.items()
                for key, text in differences(of_dataset, name, other, title, evidence).items()
            }
            for name in models
            if name in tested
        ]
    return pd.DataFrame(rows).fillna("") if rows else cells.sentence(NOTHING)


def by_region(evidence: Evidence, models: Sequence[str]) -> pd.DataFrame:
    """Dice and IoU per patient and region, as `per_patient`, and the mean over `averaged` regions if several."""
    values = in_domain_values(evidence, asked_of(evidence, SHOWN), models=models)
    tables = [values]
    for dataset, of_dataset in values.groupby("dataset", sort=False):
        regions = averaged(evidence.datasets[str(dataset)]["regions"], list(of_dataset["region"].unique()))
        if len(regions) > 1:
            keys = [name for name in of_dataset.columns if name not in ("region", "value")]
            of_regions = of_dataset[of_dataset["region"].isin(regions)]
            groups = of_regions.groupby(keys, sort=False, observed=True)["value"]
            means = groups.mean().where(groups.count() == groups.size()).reset_index()
            tables.append(means.assign(region=MEAN)[values.columns])
    return pd.concat(tables, ignore_index=True)


def averaged(labels: Mapping[str, Sequence[int]], measured: Sequence[str]) -> list[str]:
    """The regions over which a mean is taken: those of one label, if there are several, else all.

    Of gliomas these are necrosis, edema and enhancing tumor, as in the paper; the whole tumor would count them again.

    Args:
        labels: region to the label values that it joins.
        measured: names of regions, in order.
    """
    single = [name for name in measured if len(labels[name]) == 1]
    return single if len(single) > 1 else list(measured)


def headline_of(values: pd.DataFrame) -> pd.DataFrame:
    """The Dice by which models of one dataset are compared: the mean over regions, or that of its only region."""
    dice = values[values["metric"] == "dice"]
    return dice[dice["region"] == MEAN] if MEAN in set(dice["region"]) else dice


def best(values: pd.DataFrame, models: Sequence[str]) -> str | None:
    """The model with the largest mean Dice of one dataset; None without any."""
    dice = headline_of(values)
    means = dice[dice["model"].isin(models)].groupby("model", sort=False)["value"].mean().dropna()
    return None if means.empty else str(means.idxmax())


def scores(values: pd.DataFrame, model: str, evidence: Evidence) -> dict[str, str]:
    """Number of patients, and the mean and interval of each region, metric by metric."""
    own = values[values["model"] == model]
    text = {"n": str(own["patient"].nunique())}
    for (region, metric), group in own.groupby(["region", "metric"], sort=False):
        defined = group["value"].dropna().to_numpy()
        key = [str(group.iloc[0][name]) for name in ("dataset", "condition", "trained_on", "model", "region", "metric")]
        low, high = bootstrap_interval(defined, seed=seed_of(evidence.study_seed, "bootstrap", *key, "1"))
        row: Mapping[Any, Any] = {
            "mean": defined.mean() if defined.size else np.nan,
            "mean_low": low,
            "mean_high": high,
            "unit": "1",
            "patients": len(group),
            "undefined": len(group) - defined.size,
        }
        text[f"{region} {metric}"] = cells.mean(row)
    return text


def differences(values: pd.DataFrame, model: str, other: str | None, title: str, evidence: Evidence) -> dict[str, str]:
    """Paired difference of the Dice of two models in points, with its interval, and p; empty for the same model.

    A difference of fewer patients than the model was tested on, where the Dice of others is undefined, has their number
    behind it; a p that is refused has the number of patients who differ.
    """
    heading, dice = f"points over {title}", headline_of(values)
    if other is None or model == other or other not in set(dice["model"]) or model not in set(dice["model"]):
        return {heading: "", f"p, {title}": ""}
    row = paired(dice, model, other, study_seed=evidence.study_seed)
    points = cells.points(row["difference"])
    interval = "" if np.isnan(row["low"]) else f" [{cells.points(row['low'])}, {cells.points(row['high'])}]"
    counted = f" (n={row['patients']})" if row["patients"] and row["left_out"] else ""
    differing = f" (n={row['patients'] - row['zero']})" if np.isnan(row["p"]) else ""
    return {heading: f"{points}{interval}{counted}", f"p, {title}": f"{cells.probability(row['p'])}{differing}"}
