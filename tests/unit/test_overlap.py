import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffufuse.metrics import COUNTED, METRICS, PENALTY, evaluate_case
from diffufuse.metrics.overlap import confusion, dice, iou, precision, recall

SPACING_MM = (1.0, 2.0, 3.0)
SHAPE = (4, 5, 6)
PENALTY_MM = 374.0
KNOWN = {"spacing_mm": SPACING_MM, "penalty_mm": PENALTY_MM}

masks = arrays(bool, SHAPE, elements=st.booleans(), fill=st.just(False))
pairs = st.tuples(masks, masks)


def cube(shape, corner, edge):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(c, c + edge) for c in corner)] = True
    return mask


def value_of(metric, prediction, reference):
    return metric.function(prediction, reference, **{need: KNOWN[need] for need in metric.needs})


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
    values = evaluate_case(
        cube((10, 10, 10), (0, 0, 0), 5),
        cube((10, 10, 10), (0, 0, 0), 10),
        spacing_mm=SPACING_MM,
        metrics=["prediction_volume_ml", "reference_volume_ml"],
    )
    assert values["prediction_volume_ml"] == pytest.approx(0.75)
    assert values["reference_volume_ml"] == pytest.approx(6)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("kind", ["both", "missed", "spurious"])
def test_an_empty_mask_is_answered_as_the_registry_says(metric, kind):
    expected = getattr(metric.empty, kind)
    value = value_of(metric, *empty_pairs()[kind])
    if expected is None:
        assert value > 0
    else:
        assert value == pytest.approx(PENALTY_MM if expected == PENALTY else expected, nan_ok=True)


def test_the_kind_of_emptiness_is_always_counted():
    for kind, (prediction, reference) in empty_pairs().items():
        values = evaluate_case(prediction, reference, spacing_mm=SPACING_MM, metrics=["dice"])
        counted = {name: values[name] for name in COUNTED}
        name = {"both": "both_empty"}.get(kind, kind)
        assert counted == dict.fromkeys(COUNTED, 0) | {name: 1}


def test_the_penalty_is_the_diagonal_of_the_image_unless_told():
    missed = empty_pairs()["missed"]
    diagonal_mm = math.sqrt((4 * 1) ** 2 + (5 * 2) ** 2 + (6 * 3) ** 2)
    assert evaluate_case(*missed, spacing_mm=SPACING_MM, metrics=["hd95"])["hd95"] == pytest.approx(diagonal_mm)
    told = evaluate_case(*missed, spacing_mm=SPACING_MM, metrics=["hd95"], penalty_mm=PENALTY_MM)
    assert told["hd95"] == PENALTY_MM


@given(pairs)
def test_every_value_lies_in_its_range(pair):
    for metric in METRICS.values():
        value = value_of(metric, *pair)
        assert math.isnan(value) or metric.range[0] <= value <= metric.range[1]


@given(pairs)
def test_symmetric_metrics_are_symmetric(pair):
    prediction, reference = pair
    for metric in METRICS.values():
        if metric.symmetric:
            forth, back = value_of(metric, prediction, reference), value_of(metric, reference, prediction)
            assert forth == pytest.approx(back, nan_ok=True)


@given(masks)
def test_a_mask_agrees_with_itself(mask):
    assert dice(mask, mask) == iou(mask, mask) == 1


@given(st.lists(pairs, min_size=1, max_size=5))
def test_mean_iou_lies_between_the_bounds_that_mean_dice_sets(cases):
    mean_dice = np.mean([dice(*case) for case in cases])
    mean_iou = np.mean([iou(*case) for case in cases])
    assert mean_dice / (2 - mean_dice) <= mean_iou + 1e-12
    assert mean_iou <= mean_dice + 1e-12


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"prediction": np.zeros(SHAPE, np.uint8)}, "prediction: expected a boolean mask, got uint8"),
        ({"prediction": np.zeros((4, 5, 7), bool)}, "prediction: expected the reference's shape"),
        ({"spacing_mm": (1.0, 1.0)}, "spacing_mm: expected 3 positive lengths"),
        ({"spacing_mm": (1.0, 1.0, 0.0)}, "spacing_mm: expected 3 positive lengths"),
        ({"metrics": ["dise"]}, "metrics: expected some of dice, .* got dise"),
    ],
)
def test_what_does_not_fit_is_refused(change, told):
    fitting = {
        "prediction": np.zeros(SHAPE, bool),
        "reference": np.zeros(SHAPE, bool),
        "spacing_mm": SPACING_MM,
        "metrics": ["dice"],
    }
    arguments = fitting | change
    with pytest.raises(ValueError, match=told):
        evaluate_case(arguments.pop("prediction"), arguments.pop("reference"), **arguments)
