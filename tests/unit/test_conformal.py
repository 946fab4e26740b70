import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffufuse.metrics.conformal import (
    conformal_threshold,
    coverage,
    coverage_inside,
    coverage_outside,
    patients_for_a_guarantee,
    set_size,
)
from diffufuse.metrics.forecast import STEPS, forecast_of, pooled

COVERAGES = (coverage, coverage_inside, coverage_outside, set_size)


def patient(draw, size=400):
    """A forecast that is off by more or less from patient to patient."""
    truth = draw.random(size)
    tilt = np.exp(0.5 * draw.normal())
    return forecast_of(truth**tilt, draw.random(size) < truth)


def patients(seed, count, size=400):
    draw = np.random.default_rng(seed)
    return [patient(draw, size) for _ in range(count)]


def mean_coverage(forecasts, threshold):
    return np.mean([coverage(forecast, threshold=threshold) for forecast in forecasts])


def by_voxel(probability, reference, threshold):
    """Coverage and size by definition, voxel by voxel."""
    region, background = 1 - probability <= threshold + 1e-9, probability <= threshold + 1e-9
    return np.where(reference, region, background).mean(), (region.astype(int) + background).mean()


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, STEPS))
def test_sets_hold_what_their_definition_says(seed, step):
    draw = np.random.default_rng(seed)
    probability, reference = draw.integers(0, STEPS + 1, 50) / STEPS, draw.random(50) < 0.5
    forecast, threshold = forecast_of(probability, reference), step / STEPS
    covered, size = by_voxel(probability, reference, threshold)
    assert coverage(forecast, threshold=threshold) == pytest.approx(covered)
    assert set_size(forecast, threshold=threshold) == pytest.approx(size)
    for part, function in ((reference, coverage_inside), (~reference, coverage_outside)):
        expected = by_voxel(probability[part], reference[part], threshold)[0] if part.any() else math.nan
        assert function(forecast, threshold=threshold) == pytest.approx(expected, nan_ok=True)


def test_a_small_example_by_hand():
    forecast = forecast_of(np.array([0.9, 0.6, 0.5, 0.2, 0.1]), np.array([True, False, True, True, False]))
    # at 0.45 the sets are {region}, {region}, none, {background}, {background}; at 0.55 that of 0.5 holds both
    assert coverage(forecast, threshold=0.45) == 2 / 5
    assert set_size(forecast, threshold=0.45) == 4 / 5
    assert coverage(forecast, threshold=0.55) == 3 / 5
    assert set_size(forecast, threshold=0.55) == 6 / 5


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("count", [1, 2, 19])
def test_on_its_own_patients_a_threshold_keeps_its_word_and_no_smaller_one_does(level, count):
    forecasts = patients(count, count)
    threshold = conformal_threshold(forecasts, level=level)
    assert mean_coverage(forecasts, threshold) >= level - 1e-12
    assert mean_coverage(forecasts, threshold - 1 / STEPS) < level


def test_on_exchangeable_patients_the_share_is_near_what_was_asked_for():
    covered = []
    for seed in range(60):
        forecasts = patients(seed, 40)
        threshold = conformal_threshold(forecasts[:20])
        covered += [coverage(forecast, threshold=threshold) for forecast in forecasts[20:]]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01)


def test_patients_count_alike_however_many_voxels_they_have():
    draw = np.random.default_rng(0)
    small, large = patient(draw, 100), forecast_of(np.full(10**5, 0.01), np.zeros(10**5, bool))
    assert conformal_threshold([small, large], level=0.95) == conformal_threshold([small], level=0.9)
    known = patients(1, 3)
    assert conformal_threshold([pooled([small] * 7), *known]) == conformal_threshold([small, *known])


def test_a_patient_without_voxels_has_no_say_and_without_patients_there_is_no_threshold():
    none = forecast_of(np.empty(0), np.empty(0, bool))
    known = patients(0, 3)
    assert conformal_threshold([none, *known, none]) == conformal_threshold(known)
    assert math.isnan(conformal_threshold([none]))
    assert math.isnan(conformal_threshold([]))


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_threshold_makes_larger_sets_that_cover_more(seed, one, other):
    forecast = patients(seed, 1, size=60)[0]
    for function in COVERAGES:
        small, large = (function(forecast, threshold=threshold) for threshold in sorted((one, other)))
        assert small <= large


def test_at_the_ends_sets_hold_only_what_is_certain_or_everything():
    forecast = forecast_of(np.array([0, 0, 0.3, 1]), np.array([False, True, True, True]))
    assert [function(forecast, threshold=0.0) for function in COVERAGES] == pytest.approx([0.5, 1 / 3, 1, 0.75])
    assert [function(forecast, threshold=1.0) for function in COVERAGES] == [1, 1, 1, 2]


def test_without_a_threshold_or_voxels_nothing_is_known():
    forecast = patients(0, 1)[0]
    none = forecast_of(np.empty(0), np.empty(0, bool))
    for function in COVERAGES:
        assert math.isnan(function(forecast, threshold=math.nan))
        assert math.isnan(function(none, threshold=0.1))
    background = forecast_of(np.array([0.1]), np.array([False]))
    assert math.isnan(coverage_inside(background, threshold=0.5))
    assert coverage_outside(background, threshold=0.5) == coverage(background, threshold=0.5) == 1


@pytest.mark.parametrize(("level", "fewest"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_a_guarantee_needs_enough_patients(level, fewest):
    assert patients_for_a_guarantee(level) == fewest
