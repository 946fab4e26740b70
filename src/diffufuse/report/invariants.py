"""What holds of every result, whatever was trained: a table is written only from results of which it does."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from diffufuse.metrics.catalogue import METRICS
from diffufuse.metrics.forecast import STEPS
from diffufuse.report.evidence import Evidence
from diffufuse.report.patients import QUANTITY, SYSTEM, VALUE, per_patient

TOLERANCE = 1e-9
RUN = [name for name in VALUE if name != "metric"]
SCOPED = ["dataset", "condition", "trained_on", "model", "region"]


def require_sound(evidence: Evidence) -> None:
    """Check every row of a study's frames against what cannot be otherwise.

    Every value lies in its metric's range and has its unit; Dice and IoU of one mask are D / (2 - D) and the mean IoU
    lies between that of the mean Dice and the mean Dice; intervals are ordered and lie within the values; a patient is
    either defined or counted as undefined, and a statistic is of exactly the defined; a forecast has voxels at
    levels that exist, and those near a region are some of those of the body.

    Raises:
        ValueError: one does not hold; the row and the rule are named.
    """
    for check in (_values, _once, _one_mask, _summary, _means, _counts, _forecasts, _thresholds):
        for row, rule in check(evidence):
            raise ValueError(f"{row}: expected {rule}")


Broken = Iterator[tuple[Any, str]]


def _values(evidence: Evidence) -> Broken:
    metrics = evidence.metrics
    for name, group in metrics.groupby("metric", sort=False):
        metric = METRICS.get(str(name))
        if metric is None:
            yield _named(group.iloc[0], VALUE), "a metric of METRICS"
            continue
        low, high = metric.range
        outside = group[(group["value"] < low - TOLERANCE) | (group["value"] > high + TOLERANCE)]
        yield from _each(outside, VALUE, f"a value in {low}..{high}", value="value")
        yield from _each(group[group["unit"] != metric.unit], VALUE, f"the unit {metric.unit}", value="unit")


def _once(evidence: Evidence) -> Broken:
    twice = evidence.summary[evidence.summary.duplicated(QUANTITY)]
    yield from _each(twice, QUANTITY, "each row of the summary once", value="metric")


def _one_mask(evidence: Evidence) -> Broken:
    both = evidence.metrics[evidence.metrics["metric"].isin(["dice", "iou"])]
    wide = both.set_index([*RUN, "metric"])["value"].unstack("metric")
    if {"dice", "iou"} <= set(wide):
        apart = (wide["dice"] / (2 - wide["dice"]) - wide["iou"]).abs() > TOLERANCE
        yield from _each(wide[apart].reset_index(), RUN, "IoU = Dice / (2 - Dice)", value="iou")


def _summary(evidence: Evidence) -> Broken:
    for row in evidence.summary.to_dict("records"):
        metric = METRICS.get(row["metric"])
        low, high = metric.range if metric else (-math.inf, math.inf)
        told = [row[name] for name in ("mean", "mean_low", "mean_high", "median", "minimum", "maximum")]
        if any(not low - TOLERANCE <= value <= high + TOLERANCE for value in told if not math.isnan(value)):
            yield _named(row, QUANTITY), f"statistics in {low}..{high}, got {told}"
        if row["mean_low"] > row["mean_high"]:
            yield _named(row, QUANTITY), f"mean_low <= mean_high, got {row['mean_low']} and {row['mean_high']}"
        slack = TOLERANCE * max(1.0, abs(row["maximum"]))
        within = [row[name] for name in ("mean", "mean_low", "mean_high") if not math.isnan(row[name])]
        if any(value < row["minimum"] - slack or value > row["maximum"] + slack for value in within):
            yield _named(row, QUANTITY), f"mean and interval within {row['minimum']}..{row['maximum']}, got {within}"


def _means(evidence: Evidence) -> Broken:
    both = evidence.summary[evidence.summary["metric"].isin(["dice", "iou"])]
    wide = both.set_index([*SYSTEM, "metric"])["mean"].unstack("metric")
    if {"dice", "iou"} <= set(wide):
        least = wide["dice"] / (2 - wide["dice"])
        broken = wide[(wide["iou"] < least - TOLERANCE) | (wide["iou"] > wide["dice"] + TOLERANCE)]
        yield from _each(broken.reset_index(), SYSTEM, "D / (2 - D) <= mean IoU <= D on means", value="iou")


def _counts(evidence: Evidence) -> Broken:
    values = per_patient(evidence.metrics, evidence.patients).groupby(QUANTITY, sort=False, observed=True)["value"]
    found = pd.DataFrame({"patients": values.size(), "defined": values.count(), "mean": values.mean()})
    told = evidence.summary.set_index(QUANTITY)
    odd = sorted(set(told.index) ^ set(found.index))
    if odd:
        yield dict(zip(QUANTITY, odd[0], strict=True)), "one row of the summary for each quantity of the metrics"
        return
    found = found.loc[told.index]
    defined = told["patients"] - told["undefined"]
    rules = {
        "as many patients as were tested": told["patients"] != found["patients"],
        "patients = defined + undefined": defined != found["defined"],
        "a mean of exactly the defined": ~_same(told["mean"], found["mean"]),
        "no interval of fewer than two patients": (defined < 2) & told["mean_low"].notna(),
    }
    for rule, broken in rules.items():
        yield from _each(told[broken].reset_index(), QUANTITY, rule, value="patients")


def _forecasts(evidence: Evidence) -> Broken:
    frame = evidence.forecasts
    names = [*SCOPED, "scope", "level"]
    voxels = frame["inside"] + frame["outside"]
    wrong = (voxels <= 0) | (frame["inside"] < 0) | (frame["outside"] < 0)
    yield from _each(frame[wrong], names, "a positive number of voxels, none negative", value="inside")
    yield from _each(frame[~frame["level"].between(0, STEPS)], names, f"a level in 0..{STEPS}", value="level")
    total = frame.groupby([*SCOPED, "scope"])[["inside", "outside"]].sum().unstack("scope")
    for side in ("inside", "outside"):
        if {(side, "near"), (side, "body")} <= set(total):
            more = total[total[side]["near"] > total[side]["body"]]
            yield from (
                (dict(zip(SCOPED, key, strict=True)), f"no more voxels {side} near than body") for key in more.index
            )


def _thresholds(evidence: Evidence) -> Broken:
    frame, names = evidence.calibrations, ["dataset", "model", "fold", "seed", "region"]
    yield from _each(frame[frame["temperature"] <= 0], names, "a temperature above 0", value="temperature")
    beyond = (frame["threshold"] < 0) | (frame["threshold"] > 1)
    yield from _each(frame[beyond], names, "a threshold in 0..1", value="threshold")
    known = frame["temperature"].notna() | frame["threshold"].notna()
    yield from _each(frame[known & (frame["patients"] < 1)], names, "nothing learned of no patients", value="patients")


def _same(one: pd.Series, other: pd.Series) -> pd.Series:
    return ((one - other).abs() <= TOLERANCE * other.abs().clip(lower=1)) | (one.isna() & other.isna())


def _each(rows: pd.DataFrame, names: list[str], rule: str, *, value: str) -> Broken:
    yield from ((_named(row, names), f"{rule}, got {row[value]}") for row in rows.to_dict("records"))


def _named(row: Mapping[Any, Any] | pd.Series, names: list[str]) -> dict[str, Any]:
    return {name: row[name] for name in names if name != "unit"}
