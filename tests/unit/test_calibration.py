import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.metrics import CalibrationErrorMetric

from diffufuse.metrics import METRICS, evaluate_case
from diffufuse.metrics.calibration import ace, brier, ece, mce, nll, prevalence, region_of_interest

CALIBRATION = {function.__name__: function for function in (ece, ace, mce, brier, nll, prevalence)}
SPACING_MM = (2.0, 2.0, 3.27)


def forecast(size=20_000, *, seed=0, gamma=1.0):
    """Probabilities and what came of them; with gamma 1 exactly as often as they say."""
    draw = np.random.default_rng(seed)
    probability = draw.random(size)
    return probability.astype(np.float32), draw.random(size) < probability**gamma


def brute_force_near(either, spacing_mm, near_mm):
    points = np.argwhere(either) * spacing_mm
    grid = np.indices(either.shape).reshape(3, -1).T * spacing_mm
    apart = np.linalg.norm(grid[:, None] - points[None], axis=-1).min(axis=1)
    return (apart <= near_mm).reshape(either.shape)


def test_what_happens_as_often_as_it_is_said_is_calibrated():
    probability, reference = forecast(200_000)
    assert ece(probability, reference) < 0.006
    assert ace(probability, reference) < 0.006
    assert ece(*forecast(200_000, gamma=3.0)) > 0.2


def test_in_every_bin_the_stated_share_is_right_exactly():
    probability = np.repeat([0.125, 0.375, 0.625, 0.875], 8)
    reference = np.concatenate([np.arange(8) < hits for hits in (1, 3, 5, 7)])
    assert ece(probability, reference) == ace(probability, reference) == mce(probability, reference) == 0


@pytest.mark.parametrize(
    ("rate", "nats", "squared"), [(0.01, 0.056, 0.010), (0.10, 0.325, 0.090), (0.20, 0.500, 0.160)]
)
def test_who_always_says_the_base_rate_is_calibrated_and_scores_the_entropy(rate, nats, squared):
    reference = np.arange(1000) < 1000 * rate
    probability = np.full(1000, rate)
    assert ece(probability, reference) == pytest.approx(0, abs=1e-12)
    assert prevalence(probability, reference) == pytest.approx(rate)
    assert brier(probability, reference) == pytest.approx(rate * (1 - rate))
    assert nll(probability, reference) == pytest.approx(-rate * math.log(rate) - (1 - rate) * math.log(1 - rate))
    assert nll(probability, reference) == pytest.approx(nats, abs=5e-4)
    assert brier(probability, reference) == pytest.approx(squared, abs=5e-4)


def test_a_small_example_by_hand():
    probability = np.array([0.1, 0.2, 0.7, 0.9, 0.6])
    reference = np.array([False, True, True, True, False])
    # two bins: {0.1, 0.2}: said 0.15, true 1/2; {0.6, 0.7, 0.9}: said 2.2/3, true 2/3
    assert ece(probability, reference, bins=2) == pytest.approx((2 * 0.35 + 3 * 0.2 / 3) / 5)
    assert ace(probability, reference, bins=2) == pytest.approx((0.35 + 0.2 / 3) / 2)
    assert mce(probability, reference, bins=2) == pytest.approx(0.35)
    assert brier(probability, reference) == pytest.approx((0.01 + 0.64 + 0.09 + 0.01 + 0.36) / 5)
    expected = -(math.log(0.9) + math.log(0.2) + math.log(0.7) + math.log(0.9) + math.log(0.4)) / 5
    assert nll(probability, reference) == pytest.approx(expected)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_of_certain_forecasts_the_error_rate_is_what_counts(pairs):
    said, true = (np.array(part, bool) for part in zip(*pairs, strict=True))
    if said.any() or true.any():
        wrong = (said != true).mean()
        assert brier(said, true) == pytest.approx(wrong)
        assert nll(said, true) == pytest.approx(-math.log(1e-7) * wrong, abs=1e-6)
        counted = abs(said[~said].size and true[~said].mean()) * (~said).mean() + (~true[said]).sum() / said.size
        assert ece(said, true) == pytest.approx(counted) == pytest.approx(wrong)
        assert ece(said.astype(np.float32), true) == ece(said, true)


@pytest.mark.parametrize("bins", [15, 20])
@pytest.mark.parametrize(("function", "reduction"), [(ece, "expected"), (ace, "average"), (mce, "maximum")])
@pytest.mark.parametrize("gamma", [1.0, 2.5])
def test_errors_are_those_of_monai(function, reduction, bins, gamma):
    probability, reference = forecast(5000, seed=3, gamma=gamma)
    probability[:50], probability[50:90] = 0, 1
    theirs = CalibrationErrorMetric(num_bins=bins, calibration_reduction=reduction)
    theirs(y_pred=torch.from_numpy(probability)[None, None], y=torch.from_numpy(reference)[None, None].float())
    assert function(probability, reference, bins=bins) == pytest.approx(theirs.aggregate().item(), abs=1e-5)


@given(st.integers(0, 2**32 - 1))
def test_the_mean_error_lies_below_the_largest_and_brier_holds_the_bound_of_jensen(seed):
    probability, reference = forecast(200, seed=seed, gamma=0.5)
    assert 0 <= ece(probability, reference) <= mce(probability, reference) <= 1
    assert ace(probability, reference) <= mce(probability, reference)
    assert ece(probability, reference) ** 2 <= brier(probability, reference) + 1e-12


def test_the_order_and_shape_of_voxels_do_not_matter():
    probability, reference = forecast(240, seed=4)
    order = np.random.default_rng(0).permutation(240)
    for function in CALIBRATION.values():
        shuffled = function(probability[order].reshape(4, 6, 10), reference[order].reshape(4, 6, 10))
        assert shuffled == pytest.approx(function(probability, reference))


@pytest.mark.parametrize("function", CALIBRATION.values(), ids=CALIBRATION)
def test_without_reference_and_prediction_there_is_no_answer(function):
    assert math.isnan(function(np.full(5, 0.4), np.zeros(5, bool)))
    assert math.isnan(function(np.empty(0, np.float32), np.empty(0, bool)))
    assert not math.isnan(function(np.array([0.4, 0.5]), np.zeros(2, bool)))


def test_the_region_of_interest_reaches_ten_millimeters_from_either_mask():
    draw = np.random.default_rng(1)
    prediction, reference = draw.random((2, 24, 22, 15)) < 0.0005
    near = region_of_interest(prediction, reference, spacing_mm=SPACING_MM)
    assert prediction.any()
    assert reference.any()
    assert np.array_equal(near, brute_force_near(prediction | reference, SPACING_MM, 10.0))
    assert not near.all()


def test_the_region_of_interest_ends_with_the_body_and_is_empty_around_nothing():
    reference = np.zeros((20, 20, 20), bool)
    reference[10, 10, 10] = True
    none, body = np.zeros_like(reference), np.zeros_like(reference)
    body[:11] = True
    whole = region_of_interest(none, reference, spacing_mm=SPACING_MM)
    inside = region_of_interest(none, reference, spacing_mm=SPACING_MM, body=body)
    assert np.array_equal(inside, whole & body)
    assert inside.sum() < whole.sum()
    assert not region_of_interest(none, none, spacing_mm=SPACING_MM, body=body).any()


def test_background_far_away_has_no_say():
    shape = (40, 40, 20)
    reference, prediction = np.zeros(shape, bool), np.zeros(shape, bool)
    reference[18:24, 18:24, 8:12] = True
    prediction[19:24, 18:24, 8:12] = True
    probability = np.where(prediction, 0.8, 0.1).astype(np.float32)
    near = region_of_interest(prediction, reference, spacing_mm=SPACING_MM)
    elsewhere = np.where(near, probability, 0.49).astype(np.float32)
    values = [
        evaluate_case(prediction, reference, spacing_mm=SPACING_MM, metrics=list(CALIBRATION), probability=each)
        for each in (probability, elsewhere)
    ]
    assert values[0] == values[1]
    for name, function in CALIBRATION.items():
        assert values[0][name] == function(probability[near], reference[near])
    body = np.zeros(shape, bool)
    body[:, :20] = True
    confined = evaluate_case(
        prediction, reference, spacing_mm=SPACING_MM, metrics=["ece"], probability=probability, body=body
    )
    assert confined["ece"] == ece(probability[near & body], reference[near & body])


def test_a_mask_without_probabilities_is_taken_for_certain():
    reference, prediction = np.zeros((2, 12, 12, 12), bool)
    reference[4:8, 4:8, 4:8] = True
    prediction[5:8, 4:8, 4:8] = True
    settings = {"spacing_mm": (1.0, 1.0, 1.0), "metrics": list(CALIBRATION)}
    certain = evaluate_case(prediction, reference, probability=prediction.astype(np.float32), **settings)
    assert evaluate_case(prediction, reference, **settings) == certain


@pytest.mark.parametrize(
    ("probability", "told"),
    [
        (np.zeros((3, 3, 4), np.float32), "probability: expected the reference's shape"),
        (np.full((3, 3, 3), 1.5, np.float32), r"probability: expected 0\.\.1, got 1.5\.\.1.5"),
        (np.full((3, 3, 3), np.nan, np.float32), "probability: expected"),
    ],
)
def test_what_is_no_probability_is_refused(probability, told):
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(ValueError, match=told):
        evaluate_case(mask, mask, spacing_mm=SPACING_MM, metrics=["ece"], probability=probability)


def test_those_and_only_those_of_calibration_read_probabilities():
    assert {name for name, metric in METRICS.items() if metric.reads == "probability"} == set(CALIBRATION)
