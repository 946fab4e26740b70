import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffufuse.metrics.calibration import (
    ace,
    ace_equal_mass,
    brier,
    ece,
    ece_equal_mass,
    entropy_bits,
    equal_mass,
    equal_width,
    mce,
    mce_equal_mass,
    nll,
    prevalence,
    uncertainty,
)
from diffufuse.metrics.catalogue import evaluate
from diffufuse.metrics.comparison import Comparison, region_of_interest
from diffufuse.metrics.forecast import STEPS, forecast_of

ERRORS = (ece, ace, mce, ece_equal_mass, ace_equal_mass, mce_equal_mass)
CALIBRATION = {function.__name__: function for function in (*ERRORS, brier, nll, prevalence, uncertainty)}
STEP = 1 / STEPS
SPACING_MM = (2.0, 2.0, 3.27)


def drawn(size=20_000, *, seed=0, gamma=1.0):
    """A forecast of what happens exactly as often as it says if gamma is 1."""
    draw = np.random.default_rng(seed)
    probability = draw.random(size)
    return forecast_of(probability, draw.random(size) < probability**gamma)


def said(probability, reference):
    return forecast_of(np.array(probability, float), np.array(reference, bool))


def brute_force_near(either, spacing_mm, near_mm):
    points = np.argwhere(either) * spacing_mm
    grid = np.indices(either.shape).reshape(3, -1).T * spacing_mm
    apart = np.linalg.norm(grid[:, None] - points[None], axis=-1).min(axis=1)
    return (apart <= near_mm).reshape(either.shape)


def placed(box, near, shape):
    """A box of voxels in the whole image."""
    whole = np.zeros(shape, bool)
    whole[box] = near
    return whole


def test_what_happens_as_often_as_it_is_said_is_calibrated():
    honest, boastful = drawn(200_000), drawn(200_000, gamma=3.0)
    for error in (ece, ace, ece_equal_mass, ace_equal_mass):
        assert error(honest) < 0.006
        assert error(boastful) > 0.2


def test_in_every_bin_the_stated_share_is_right_exactly():
    forecast = said(np.repeat([0.2, 0.4, 0.6, 0.8], 5), np.concatenate([np.arange(5) < hits for hits in (1, 2, 3, 4)]))
    for error in ERRORS:
        assert error(forecast) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("rate", "nats", "squared"), [(0.01, 0.056, 0.010), (0.10, 0.325, 0.090), (0.20, 0.500, 0.160)]
)
def test_who_always_says_the_base_rate_is_calibrated_and_scores_the_entropy(rate, nats, squared):
    forecast = said(np.full(1000, rate), np.arange(1000) < 1000 * rate)
    assert ece(forecast) == pytest.approx(0, abs=STEP)
    assert prevalence(forecast) == pytest.approx(rate)
    assert brier(forecast) == pytest.approx(rate * (1 - rate), abs=1e-9)
    assert nll(forecast) == pytest.approx(-rate * math.log(rate) - (1 - rate) * math.log(1 - rate), abs=1e-6)
    assert nll(forecast) == pytest.approx(nats, abs=5e-4)
    assert brier(forecast) == pytest.approx(squared, abs=5e-4)


def test_a_small_example_by_hand():
    forecast = said([0.1, 0.2, 0.7, 0.9, 0.6], [False, True, True, True, False])
    # two bins: {0.1, 0.2}: said 0.15, true 1/2; {0.6, 0.7, 0.9}: said 2.2/3, true 2/3
    assert ece(forecast, bins=2) == pytest.approx((2 * 0.35 + 3 * 0.2 / 3) / 5, abs=STEP)
    assert ace(forecast, bins=2) == pytest.approx((0.35 + 0.2 / 3) / 2, abs=STEP)
    assert mce(forecast, bins=2) == pytest.approx(0.35, abs=STEP)
    assert brier(forecast) == pytest.approx((0.01 + 0.64 + 0.09 + 0.01 + 0.36) / 5, abs=STEP)
    expected = -(math.log(0.9) + math.log(0.2) + math.log(0.7) + math.log(0.9) + math.log(0.4)) / 5
    assert nll(forecast) == pytest.approx(expected, abs=5 * STEP)


def test_bins_of_equal_mass_by_hand():
    forecast = said([0.1, 0.2, 0.6, 0.7, 0.8, 0.9], [False, True, True, False, True, True])
    # three bins of two: said 0.15, 0.65, 0.85; true 1/2, 1/2, 1
    found = equal_mass(forecast, bins=3)
    assert found.voxels.tolist() == [2, 2, 2]
    assert found.mean_probability == pytest.approx([0.15, 0.65, 0.85], abs=STEP)
    assert found.true.tolist() == [0.5, 0.5, 1]
    assert ece_equal_mass(forecast, bins=3) == ace_equal_mass(forecast, bins=3) == pytest.approx(0.65 / 3, abs=STEP)
    assert mce_equal_mass(forecast, bins=3) == pytest.approx(0.35, abs=STEP)


def test_a_bin_is_closed_on_its_left_and_the_last_on_both_sides():
    found = equal_width(said([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [True] * 6), bins=5)
    assert found.mean_probability == pytest.approx([0, 0.2, 0.4, 0.6, 0.9])
    assert found.voxels.tolist() == [1, 1, 1, 1, 2]


@pytest.mark.parametrize("bins", [1, 3, 15, 20, 51, 85])
def test_a_probability_at_the_edge_of_two_bins_falls_into_the_upper_one(bins):
    edges = [level for level in range(STEPS) if level * bins % STEPS == 0]
    forecast = forecast_of(np.array(edges) / STEPS, np.zeros(len(edges), bool))
    assert equal_width(forecast, bins=bins).voxels.tolist() == [1] * len(edges)


def test_bins_of_equal_mass_hold_as_many_voxels_each():
    assert equal_mass(drawn(20_000)).voxels == pytest.approx(1000, abs=3)
    # nine tenths said one and the same: they stay together
    crowd = said(np.concatenate([np.full(900, 0.5), np.linspace(0.6, 0.9, 100)]), np.zeros(1000, bool))
    assert equal_mass(crowd, bins=10).voxels.tolist() == [900, 100]
    # three that are said alike begin in the first half and have their middle in the second
    assert equal_mass(said([0.1, 0.2, 0.5, 0.5, 0.5, 0.9], [False] * 6), bins=2).voxels.tolist() == [2, 4]


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_of_certain_forecasts_the_error_rate_is_what_counts(pairs):
    told, true = (np.array(part, bool) for part in zip(*pairs, strict=True))
    wrong = (told != true).mean()
    forecast = forecast_of(told, true)
    assert brier(forecast) == pytest.approx(wrong)
    assert nll(forecast) == pytest.approx(-math.log(1e-7) * wrong, abs=1e-6)
    assert ece(forecast) == pytest.approx(wrong)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_mean_error_lies_below_the_largest_and_brier_holds_the_bound_of_jensen(seed):
    forecast = drawn(200, seed=seed, gamma=0.5)
    for expected, average, largest in ((ece, ace, mce), (ece_equal_mass, ace_equal_mass, mce_equal_mass)):
        assert 0 <= expected(forecast) <= largest(forecast) <= 1
        assert average(forecast) <= largest(forecast) + 1e-12
        assert expected(forecast) ** 2 <= brier(forecast) + 1e-12


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_no_other_forecast_scores_better_than_the_truth(seed, other):
    draw = np.random.default_rng(seed)
    true = draw.random(500) < draw.random()
    rate = true.mean()
    for score in (brier, nll):
        assert score(said(np.full(500, rate), true)) <= score(said(np.full(500, other), true)) + 1e-9


def test_doubt_is_counted_for_each_expected_voxel():
    assert entropy_bits(np.array([0, 0.5, 1])).tolist() == [0, 1, 0]
    assert entropy_bits(np.array([0.25])) == pytest.approx(2 - 0.75 * math.log2(3))
    certain = said([1, 1, 0, 0], [True, False, False, False])
    assert uncertainty(certain) == 0
    # one voxel is expected of two that are doubtful, and background that is sure adds nothing
    assert uncertainty(said([0.5, 0.5, 0, 0, 0], [False] * 5)) == pytest.approx(2, abs=1e-4)
    assert math.isnan(uncertainty(said([0, 0], [True, False])))


def test_doubt_needs_no_reference():
    probability = np.random.default_rng(0).random(100)
    assert len({uncertainty(forecast_of(probability, probability > cut)) for cut in (0.0, 0.3, 2.0)}) == 1


@pytest.mark.parametrize("function", CALIBRATION.values(), ids=CALIBRATION)
def test_where_no_voxel_counts_there_is_no_answer(function):
    assert math.isnan(function(said([], [])))
    assert not math.isnan(function(said([0.4, 0.5], [False, False])))


def test_the_region_of_interest_reaches_ten_millimeters_from_either_mask():
    draw = np.random.default_rng(1)
    prediction, reference = draw.random((2, 24, 22, 15)) < 0.0005
    assert prediction.any()
    assert reference.any()
    near = placed(*region_of_interest(prediction, reference, spacing_mm=SPACING_MM), prediction.shape)
    assert np.array_equal(near, brute_force_near(prediction | reference, SPACING_MM, 10.0))
    assert not near.all()


def test_the_region_of_interest_is_empty_around_nothing():
    none = np.zeros((20, 20, 20), bool)
    box, near = region_of_interest(none, none, spacing_mm=SPACING_MM)
    assert near.size == none[box].size == 0
    assert Comparison(none, none, SPACING_MM).near.voxels == 0


def far_and_near():
    """Prediction, reference, probability, and the same probability with doubt far away."""
    reference, prediction = np.zeros((2, 40, 40, 20), bool)
    reference[18:24, 18:24, 8:12], prediction[19:24, 18:24, 8:12] = True, True
    probability = np.where(prediction, 0.8, 0.1).astype(np.float32)
    near = placed(*region_of_interest(prediction, reference, spacing_mm=SPACING_MM), reference.shape)
    return prediction, reference, near, probability, np.where(near, probability, 0.49).astype(np.float32)


def test_background_far_away_has_no_say_except_in_the_body():
    prediction, reference, near, probability, doubtful = far_and_near()
    values, elsewhere = (
        evaluate(Comparison(prediction, reference, SPACING_MM, probability=each, threshold=0.3))
        for each in (probability, doubtful)
    )
    for name, function in CALIBRATION.items():
        if name in values:
            assert values[name] == elsewhere[name] == function(forecast_of(probability[near], reference[near]))
        assert elsewhere[f"{name}_body"] == function(forecast_of(doubtful, reference))
    assert values["brier_body"] < elsewhere["brier_body"]


def test_both_scopes_end_with_the_body():
    prediction, reference, near, probability, _ = far_and_near()
    inside = np.zeros(reference.shape, bool)
    inside[:, :20] = True
    confined = Comparison(prediction, reference, SPACING_MM, probability=probability, inside=inside)
    assert ece(confined.near) == ece(forecast_of(probability[near & inside], reference[near & inside]))
    assert confined.near.voxels == (near & inside).sum() < near.sum()
    assert confined.body.voxels == inside.sum()


def test_a_mask_without_probabilities_is_taken_for_certain():
    prediction, reference, *_ = far_and_near()
    certain = Comparison(prediction, reference, SPACING_MM, probability=prediction.astype(np.float32))
    expected = evaluate(certain)
    assert evaluate(Comparison(prediction, reference, SPACING_MM)) == pytest.approx(expected, nan_ok=True)


def test_what_is_no_probability_is_refused():
    mask = np.ones((3, 3, 3), bool)
    for bad in (1.5, np.nan):
        with pytest.raises(ValueError, match=r"probability: expected 0\.\.1, got "):
            evaluate(Comparison(mask, mask, SPACING_MM, probability=np.full(mask.shape, bad)))
