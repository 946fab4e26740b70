import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffufuse.metrics.intervals import volume_covered, volume_interval, volume_interval_ml

SPACING_MM = (10.0, 10.0, 10.0)
NONE = np.zeros((5, 5, 5), bool)


def reference(volume_ml):
    mask = np.zeros((5, 5, 5), bool)
    mask.ravel()[:volume_ml] = True
    return mask


def test_two_samples_span_the_interval_of_the_table():
    # t of one degree of freedom at 97.5 % is 12.706; SD of 40 and 50 is 5 sqrt 2
    half = 12.7062 * math.sqrt(1.5) * 5 * math.sqrt(2)
    assert volume_interval([40, 50], level=0.95) == pytest.approx((0, 45 + half), abs=1e-3)
    # and at 75 % it is 1
    assert volume_interval([40, 50], level=0.5) == pytest.approx((45 - math.sqrt(75), 45 + math.sqrt(75)))


@pytest.mark.parametrize("count", [2, 5, 20])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_another_sample_lies_within_as_often_as_it_should(count, level):
    samples = np.random.default_rng(count).normal(100, 5, size=(4000, count + 1))
    ends = [volume_interval(row[1:], level=level) for row in samples]
    held = np.mean([low <= row[0] <= high for row, (low, high) in zip(samples, ends, strict=True)])
    # three standard errors
    assert held == pytest.approx(level, abs=3 * math.sqrt(level * (1 - level) / 4000))


@settings(deadline=None)
@given(st.lists(st.floats(1, 500), min_size=2, max_size=8), st.floats(0.1, 10))
def test_the_interval_scales_with_the_volumes_and_holds_their_mean(samples_ml, factor):
    low, high = volume_interval(samples_ml)
    assert 0 <= low <= np.mean(samples_ml) + 1e-9
    assert np.mean(samples_ml) <= high + 1e-9
    assert volume_interval([factor * ml for ml in samples_ml]) == pytest.approx((factor * low, factor * high), abs=1e-6)


def test_samples_that_agree_leave_no_room():
    assert volume_interval([7.0] * 4) == (7, 7)
    assert volume_interval_ml(NONE, NONE, samples_ml=[7.0] * 4) == 0


def test_the_truth_is_covered_between_both_ends_and_nowhere_else():
    low, high = volume_interval([50, 52, 55])
    for volume_ml in (0, math.floor(low), math.ceil(low), 52, math.floor(high), math.ceil(high)):
        covered = volume_covered(NONE, reference(volume_ml), spacing_mm=SPACING_MM, samples_ml=[50, 52, 55])
        assert covered == float(low <= volume_ml <= high)
    assert volume_interval_ml(NONE, NONE, samples_ml=[50, 52, 55]) == high - low


@pytest.mark.parametrize("samples_ml", [(), (3.0,)])
def test_without_two_samples_there_is_no_interval(samples_ml):
    assert np.isnan(volume_interval(samples_ml)).all()
    assert math.isnan(volume_interval_ml(NONE, NONE, samples_ml=samples_ml))
    assert math.isnan(volume_covered(NONE, NONE, spacing_mm=SPACING_MM, samples_ml=samples_ml))
