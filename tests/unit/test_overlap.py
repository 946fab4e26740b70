import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffufuse.metrics.catalogue import METRICS, PENALTY, evaluate
from diffufuse.metrics.comparison import Comparison
from diffufuse.metrics.overlap import (
    COUNTED,
    confusion,
    dice,
    iou,
    precision,
    recall,
    relative_volume_error,
    volume_error_ml,
)

SPACING_MM = (1.0, 2.0, 3.0)
SHAPE = (4, 5, 6)
PENALTY_MM = 374.0
PROBABILITY = np.random.default_rng(0).uniform(0.05, 0.95, SHAPE).astype(np.float32)

masks = arrays(bool, SHAPE, elements=st.booleans(), fill=st.just(False))
pairs = st.tuples(masks, masks)


def cube(shape, corner, edge):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(c, c + edge) for c in corner)] = True
    return mask


def compared(prediction, reference, **rest):
    known = {"probability": PROBABILITY, "penalty_mm": PENALTY_MM, "threshold": 0.2, "samples_ml": (0.02, 0.03, 0.05)}
    return Comparison(prediction, reference, SPACING_MM, **(known | rest))


def empty_pairs():
    some, none = cube(SHAPE, (1, 1, 1), 2), np.zeros(SHAPE, bool)
    return {"both": (none, none), "missed": (none, some), "spurious": (some, none)}


def test_a_cube_shifted_by_half_its_edge_overlaps_by_half():
    reference, prediction = cube((12, 8, 8), (2, 2, 2), 4), cube((12, 8, 8), (4, 2, 2), 4)
    assert confusion(prediction, reference) == (32, 32, 32)
    assert dice(prediction, reference) == 0.5
    assert iou(prediction, reference) == pytest.approx(1 / 3)


def test_precision_blames_what_is_extra_and_recall_what_is_lacking():
    small, large = cube((6, 6, 6), (2, 2, 2), 2), cube((6, 6, 6), (1, 1, 1), 4)
    assert precision(large, small) == recall(small, large) == 8 / 64
    assert precision(small, large) == recall(large, small) == 1


def test_volumes_are_in_milliliters():
    large, small = cube((10, 10, 10), (0, 0, 0), 10), cube((10, 10, 10), (0, 0, 0), 5)
    names = ["prediction_volume_ml", "reference_volume_ml", "volume_error_ml", "relative_volume_error"]
    values = evaluate(Comparison(small, large, SPACING_MM))
    assert [values[name] for name in names] == pytest.approx([0.75, 6, 5.25, 0.875])


def test_a_volume_that_is_too_large_is_as_wrong_as_one_too_small_and_where_it_lies_does_not_matter():
    reference = cube((12, 4, 4), (0, 0, 0), 4)
    assert relative_volume_error(np.roll(reference, 6, axis=0), reference) == 0
    large, small = reference | np.roll(reference, 6, axis=0), np.zeros_like(reference)
    assert relative_volume_error(large, reference) == relative_volume_error(small, reference) == 1
    assert [volume_error_ml(mask, reference, spacing_mm=SPACING_MM) for mask in (large, small)] == [0.384, 0.384]


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("kind", ["both", "missed", "spurious"])
def test_an_empty_mask_is_answered_as_the_registry_says(metric, kind):
    expected = getattr(metric.empty, kind)
    value = metric.of(compared(*empty_pairs()[kind]))
    if expected is None:
        assert metric.range[0] <= value <= metric.range[1]
        assert value > 0 or metric.range == (0, 1)
    else:
        assert value == pytest.approx(PENALTY_MM if expected == PENALTY else expected, nan_ok=True)


def test_the_kind_of_emptiness_is_always_counted():
    for kind, pair in empty_pairs().items():
        values = evaluate(compared(*pair))
        name = {"both": "both_empty"}.get(kind, kind)
        expected = {"dice": kind == "both"} | dict.fromkeys(COUNTED, 0) | {name: 1}
        assert {name: values[name] for name in expected} == expected


def test_the_penalty_is_the_diagonal_of_the_image_unless_told():
    missed = empty_pairs()["missed"]
    diagonal_mm = math.sqrt((4 * 1) ** 2 + (5 * 2) ** 2 + (6 * 3) ** 2)
    assert evaluate(Comparison(*missed, SPACING_MM))["hd95"] == pytest.approx(diagonal_mm)
    assert evaluate(compared(*missed))["hd95"] == PENALTY_MM


def test_what_is_read_is_what_is_named():
    assert all(METRICS[name].reads == "mask" for name in ("dice", "volume_covered"))
    assert METRICS["hd95"].reads == "surface"
    assert METRICS["ece"].reads == "near"
    assert all(name.endswith("_body") == (metric.reads == "body") for name, metric in METRICS.items())


def test_all_metrics_are_evaluated_in_their_order():
    assert list(evaluate(compared(*empty_pairs()["missed"]))) == list(METRICS)


@settings(deadline=None)
@given(pairs)
def test_every_value_lies_in_its_range(pair):
    for metric in METRICS.values():
        value = metric.of(compared(*pair))
        assert math.isnan(value) or metric.range[0] <= value <= metric.range[1]


@settings(deadline=None)
@given(pairs)
def test_symmetric_metrics_are_symmetric(pair):
    forth, back = compared(*pair), compared(*pair[::-1])
    for metric in METRICS.values():
        if metric.symmetric:
            assert metric.of(forth) == pytest.approx(metric.of(back), nan_ok=True)


@settings(deadline=None)
@given(masks)
def test_a_mask_agrees_with_itself(mask):
    assert dice(mask, mask) == iou(mask, mask) == 1


@settings(deadline=None)
@given(st.lists(pairs, min_size=1, max_size=5))
def test_mean_iou_lies_between_the_bounds_that_mean_dice_sets(cases):
    mean_dice = np.mean([dice(*case) for case in cases])
    mean_iou = np.mean([iou(*case) for case in cases])
    assert mean_dice / (2 - mean_dice) <= mean_iou + 1e-12
    assert mean_iou <= mean_dice + 1e-12


@pytest.mark.parametrize("lay", [np.ascontiguousarray, np.asfortranarray, lambda mask: mask[::-1, :, ::-1]])
@settings(deadline=None)
@given(pair=pairs)
def test_counts_are_those_of_the_whole_image_however_it_lies_in_memory(lay, pair):
    prediction, reference = (lay(mask) for mask in pair)
    expected = [(a & b).sum() for a, b in [(prediction, reference), (prediction, ~reference), (~prediction, reference)]]
    assert list(confusion(prediction, reference)) == expected


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"prediction": np.zeros(SHAPE, np.uint8)}, "prediction: expected a boolean mask, got uint8"),
        ({"reference": np.zeros(SHAPE, np.uint8)}, "reference: expected a boolean mask, got uint8"),
        ({"prediction": np.zeros((4, 5, 7), bool)}, "prediction: expected the reference's shape"),
        ({"probability": np.zeros((4, 5, 7), np.float32)}, "probability: expected the reference's shape"),
        ({"inside": np.zeros((4, 5, 7), bool)}, "inside: expected the reference's shape"),
        ({"spacing_mm": (1.0, 1.0)}, "spacing_mm: expected 3 positive lengths"),
        ({"spacing_mm": (1.0, 1.0, 0.0)}, "spacing_mm: expected 3 positive lengths"),
    ],
)
def test_what_does_not_fit_is_refused(change, told):
    fitting = {"prediction": np.zeros(SHAPE, bool), "reference": np.zeros(SHAPE, bool), "spacing_mm": SPACING_MM}
    with pytest.raises(ValueError, match=told):
        Comparison(**(fitting | change))
