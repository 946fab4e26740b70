import math
from dataclasses import replace

import pandas as pd
import pytest
from evidence import an_evidence

from diffufuse.report.invariants import require_sound


@pytest.fixture(scope="module")
def sound():
    return an_evidence(patients=4, models=("diffufusemed_small", "unet2d_small"))


def changed(evidence, frame, where, column, value):
    """The evidence with one value of one row changed, of the first row that has all of `where`."""
    table = getattr(evidence, frame).copy()
    rows = (table[list(where)] == list(where.values())).all(axis=1) if where else pd.Series(True, index=table.index)
    table.loc[rows.idxmax(), column] = value
    return replace(evidence, **{frame: table})


def test_what_a_study_finds_is_sound(sound):
    require_sound(sound)
    require_sound(an_evidence())


BROKEN = [
    ("metrics", {"metric": "dice"}, "value", 1.2, "a value in 0..1, got 1.2"),
    ("metrics", {"metric": "recall"}, "value", -0.1, "a value in 0..1"),
    ("metrics", {"metric": "auc"}, "value", 1.0001, "a value in 0..1"),
    ("metrics", {"metric": "coverage"}, "value", 1.5, "a value in 0..1"),
    ("metrics", {"metric": "set_size"}, "value", 2.1, "a value in 0..2"),
    ("metrics", {"metric": "hd95"}, "value", -1.0, "a value in 0..inf"),
    ("metrics", {"metric": "hd95"}, "unit", "cm", "the unit mm, got cm"),
    ("metrics", {"metric": "dice"}, "metric", "luck", "a metric of ALL_METRICS"),
    ("metrics", {"metric": "dice"}, "region", "image", "the region image for fused images alone, got image"),
    ("metrics", {"metric": "iou"}, "value", 0.999, "IoU = Dice / (2 - Dice), got 0.999"),
    ("metrics", {"metric": "ece"}, "value", 0.5, "a mean of exactly the defined"),
    ("metrics", {"metric": "ece"}, "value", math.nan, "patients = defined + undefined"),
    ("summary", {"metric": "dice"}, "maximum", 1.1, "statistics in 0..1"),
    ("summary", {"metric": "dice"}, "mean_low", 0.99, "mean_low <= mean_high"),
    ("summary", {"metric": "dice"}, "minimum", 0.99, "mean and interval within"),
    ("summary", {"metric": "iou"}, "mean", 0.9, "mean and interval within"),
    ("summary", {"metric": "ece"}, "patients", 3, "as many patients as were tested, got 3"),
    ("summary", {"metric": "ece"}, "undefined", 1, "patients = defined + undefined"),
    ("summary", {"metric": "ece"}, "region", "edema", "one row of the summary for each quantity"),
    ("summary", {"metric": "volume_covered"}, "mean", 0.0, "a mean of exactly the defined"),
    ("summary", {"metric": "volume_covered"}, "mean_low", 0.0, "no interval of fewer than two patients"),
    ("forecasts", {}, "inside", -1, "a positive number of voxels, none negative, got -1"),
    ("forecasts", {"scope": "near"}, "inside", 10**9, "no more voxels inside near than body"),
    ("forecasts", {"scope": "near"}, "outside", 10**9, "no more voxels outside near than body"),
    ("forecasts", {}, "level", 65536, "a level in 0..65535, got 65536"),
    ("calibrations", {}, "temperature", 0.0, "a temperature above 0"),
    ("calibrations", {}, "threshold", 1.2, "a threshold in 0..1"),
    ("calibrations", {}, "patients", 0, "nothing learned of no patients"),
]


@pytest.mark.parametrize(("frame", "where", "column", "value", "rule"), BROKEN, ids=[row[-1] for row in BROKEN])
def test_a_row_that_cannot_be_is_named_with_the_rule_that_it_breaks(sound, frame, where, column, value, rule):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        require_sound(changed(sound, frame, where, column, value))
    assert f"expected {rule}" in str(error.value)
    assert "'model': 'diffufusemed_small'" in str(error.value)


def test_a_mean_iou_below_what_the_mean_dice_allows_is_refused(sound):
    rows = sound.summary["metric"] == "iou"
    lower = sound.summary.assign(
        **{name: sound.summary[name].where(~rows, 0.01) for name in ("mean", "mean_low", "minimum")}
    )
    with pytest.raises(ValueError, match=r"expected D / \(2 - D\) <= mean IoU <= D on means"):
        require_sound(replace(sound, summary=lower))


def test_a_row_that_stands_twice_is_refused(sound):
    twice = pd.concat([sound.summary, sound.summary.head(1)])
    with pytest.raises(ValueError, match="each row of the summary once"):
        require_sound(replace(sound, summary=twice))
