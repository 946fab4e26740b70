"""Invariants of every result; tables are only written from results that satisfy them."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from diffufuse.metrics.forecast import STEPS
from diffufuse.metrics.overlap import lost
from diffufuse.metrics.registry import ALL_METRICS, IMAGE
from diffufuse.report.evidence import Evidence
from diffufuse.report.patients import QUANTITY, SYSTEM, VALUE, per_patient

TOLERANCE = 1e-9
RUN = [name for name in VALUE if name != "metric"]
SCOPED = ["dataset", "condition", "trained_on", "model", "region"]


def require_sound(evidence: Evidence) -> None:
    """Check every row of a study's frames.

    Every value lies in its metric's range and has its unit; metrics of fused images have the region `image`, and no
    others; Dice and IoU of one mask are D / (2 - D) and the mean IoU lies between that of the mean Dice and the mean
    Dice; a region that was lost in resampling is not scored; intervals are ordered and lie within the values; each
    patient is either defined or counted as undefined, and statistics are of the defined ones; forecasts have a positive
    number of voxels at valid levels, and the voxels near a region are a subset of those of the body.

    Raises:
        ValueError: an invariant is violated; the message names the row and the rule.
    """
    for check in (_values, _once, _one_mask, _not_scored, _summary, _means, _counts, _forecasts, _thresholds):
        for row, rule in check(evidence):
            raise ValueError(f"{row}: expected {rule}")


Violations = Iterator[tuple[Any, str]]


def _values(evidence: Evidence) -> Violations:
    metrics = evidence.metrics
    for name, group in metrics.groupby("metric", sort=False):
        metric = ALL_METRICS.get(str(name))
        if metric is None:
            yield _named(group.iloc[0], VALUE), "a metric of ALL_METRICS"
            continue
        low, high = metric.range
        outside = group[(group["value"] < low - TOLERANCE) | (group["value"] > high + TOLERANCE)]
        yield from _violations(outside, VALUE, f"a value in {low}..{high}", value="value")
        yield from _violations(group[group["unit"] != metric.unit], VALUE, f"the unit {metric.unit}", value="unit")
        misplaced = group[(group["region"] == IMAGE) != (metric.reads == IMAGE)]
        yield from _violations(misplaced, VALUE, f"the region {IMAGE} for fused images alone", value="region")


def _once(evidence: Evidence) -> Violations:
    twice = evidence.summary[evidence.summary.duplicated(QUANTITY)]
    yield from _violations(twice, QUANTITY, "each row of the summary once", value="metric")


def _one_mask(evidence: Evidence) -> Violations:
    both = evidence.metrics[evidence.metrics["metric"].isin(["dice", "iou"])]
    wide = both.set_index([*RUN, "metric"])["value"].unstack("metric")
    if {"dice", "iou"} <= set(wide):
        differing = (wide["dice"] / (2 - wide["dice"]) - wide["iou"]).abs() > TOLERANCE
        yield from _violations(wide[differing].reset_index(), RUN, "IoU = Dice / (2 - Dice)", value="iou")


def _not_scored(evidence: Evidence) -> Violations:
    metrics = evidence.metrics
    lost_ones = metrics[(metrics["metric"] == lost.__name__) & (metrics["value"] > 0)]
    others = metrics[(metrics["metric"] != lost.__name__) & metrics["value"].notna()]
    yield from _violations(others.merge(lost_ones[RUN], on=RUN), VALUE, "no value of a lost region", value="value")


def _summary(evidence: Evidence) -> Violations:
    for row in evidence.summary.to_dict("records"):
        metric = ALL_METRICS.get(row["metric"])
        low, high = metric.range if metric else (-math.inf, math.inf)
        statistics = [row[name] for name in ("mean", "mean_low", "mean_high", "median", "minimum", "maximum")]
        if any(not low - TOLERANCE <= value <= high + TOLERANCE for value in statistics if not math.isnan(value)):
            yield _named(row, QUANTITY), f"statistics in {low}..{high}, got {statistics}"
        if row["mean_low"] > row["mean_high"]:
            yield _named(row, QUANTITY), f"mean_low <= mean_high, got {row['mean_low']} and {row['mean_high']}"
        slack = TOLERANCE * max(1.0, abs(row["maximum"]))
        within = [row[name] for name in ("mean", "mean_low", "mean_high") if not math.isnan(row[name])]
        if any(value < row["minimum"] - slack or value > row["maximum"] + slack for value in within):
            yield _named(row, QUANTITY), f"mean and interval within {row['minimum']}..{row['maximum']}, got {within}"


def _means(evidence: Evidence) -> Violations:
    both = evidence.summary[evidence.summary["metric"].isin(["dice", "iou"])]
    wide = both.set_index([*SYSTEM, "metric"])["mean"].unstack("metric")
    if {"dice", "iou"} <= set(wide):
        lower_bound = wide["dice"] / (2 - wide["dice"])
        violating = wide[(wide["iou"] < lower_bound - TOLERANCE) | (wide["iou"] > wide["dice"] + TOLERANCE)]
        yield from _violations(violating.reset_index(), SYSTEM, "D / (2 - D) <= mean IoU <= D on means", value="iou")


def _counts(evidence: Evidence) -> Violations:
    values = per_patient(evidence.metrics, evidence.patients).groupby(QUANTITY, sort=False, observed=True)["value"]
    expected = pd.DataFrame({"patients": values.size(), "defined": values.count(), "mean": values.mean()})
    summary = evidence.summary.set_index(QUANTITY)
    unmatched = sorted(set(summary.index) ^ set(expected.index))
    if unmatched:
        yield dict(zip(QUANTITY, unmatched[0], strict=True)), "one row of the summary for each quantity of the metrics"
        return
    expected = expected.loc[summary.index]
    defined = summary["patients"] - summary["undefined"]
    rules = {
        "as many patients as were tested": summary["patients"] != expected["patients"],
        "patients = defined + undefined": defined != expected["defined"],
        "a mean of exactly the defined": ~_same(summary["mean"], expected["mean"]),
        "no interval of fewer than two patients": (defined < 2) & summary["mean_low"].notna(),
    }
    for rule, violating in rules.items():
        yield from _violations(summary[violating].reset_index(), QUANTITY, rule, value="patients")


def _forecasts(evidence: Evidence) -> Violations:
    frame = evidence.forecasts
    names = [*SCOPED, "scope", "level"]
    voxels = frame["inside"] + frame["outside"]
    invalid = (voxels <= 0) | (frame["inside"] < 0) | (frame["outside"] < 0)
    yield from _violations(frame[invalid], names, "a positive number of voxels, none negative", value="inside")
    yield from _violations(frame[~frame["level"].between(0, STEPS)], names, f"a level in 0..{STEPS}", value="level")
    totals = frame.groupby([*SCOPED, "scope"])[["inside", "outside"]].sum().unstack("scope")
    for side in ("inside", "outside"):
        if {(side, "near"), (side, "body")} <= set(totals):
            exceeding = totals[totals[side]["near"] > totals[side]["body"]]
            yield from (
                (dict(zip(SCOPED, key, strict=True)), f"no more voxels {side} near than body")
                for key in exceeding.index
            )


def _thresholds(evidence: Evidence) -> Violations:
    frame, names = evidence.calibrations, ["dataset", "model", "fold", "seed", "region"]
    yield from _violations(frame[frame["temperature"] <= 0], names, "a temperature above 0", value="temperature")
    outside = (frame["threshold"] < 0) | (frame["threshold"] > 1)
    yield from _violations(frame[outside], names, "a threshold in 0..1", value="threshold")
    fitted = frame["temperature"].notna() | frame["threshold"].notna()
    yield from _violations(
        frame[fitted & (frame["patients"] < 1)], names, "nothing learned of no patients", value="patients"
    )


def _same(one: pd.Series, other: pd.Series) -> pd.Series:
    return ((one - other).abs() <= TOLERANCE * other.abs().clip(lower=1)) | (one.isna() & other.isna())


def _violations(rows: pd.DataFrame, names: list[str], rule: str, *, value: str) -> Violations:
    yield from ((_named(row, names), f"{rule}, got {row[value]}") for row in rows.to_dict("records"))


def _named(row: Mapping[Any, Any] | pd.Series, names: list[str]) -> dict[str, Any]:
    return {name: row[name] for name in names if name != "unit"}
