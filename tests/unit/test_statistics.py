import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from diffufuse.statistics import bootstrap_interval


def test_many_normal_values_give_the_interval_of_theory():
    values = np.random.default_rng(1).normal(loc=5, scale=2, size=400)
    low, high = bootstrap_interval(values, seed=3)
    half = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_skewed_values_shift_the_percentiles_as_efron_says():
    values = np.random.default_rng(2).lognormal(sigma=1, size=25)
    means = np.random.default_rng(9).choice(values, (100_000, 25)).mean(axis=1)
    bias = stats.norm.ppf((means < values.mean()).mean())
    acceleration = stats.skew(values) / (6 * math.sqrt(25))
    normal = bias + stats.norm.ppf([0.025, 0.975])
    expected = np.quantile(means, stats.norm.cdf(bias + normal / (1 - acceleration * normal)))
    found = bootstrap_interval(values, seed=3, resamples=50_000)
    assert found == pytest.approx(expected, abs=0.03 * np.ptp(expected))
    assert abs(found[1] - np.quantile(means, 0.975)) > 0.1 * np.ptp(expected)


def test_some_95_of_100_intervals_hold_the_true_mean():
    generator = np.random.default_rng(5)
    held = 0
    for seed in range(200):
        low, high = bootstrap_interval(generator.normal(size=50), seed=seed, resamples=500)
        held += low <= 0 <= high
    assert 0.89 <= held / 200 <= 0.99


def test_the_interval_moves_and_scales_with_the_values():
    values = np.random.default_rng(2).lognormal(size=20)
    low, high = bootstrap_interval(values, seed=3)
    assert bootstrap_interval(1e-150 * values, seed=3) == pytest.approx((1e-150 * low, 1e-150 * high), rel=1e-9, abs=0)
    assert bootstrap_interval(7 + values, seed=3) == pytest.approx((7 + low, 7 + high))


def test_a_higher_level_is_wider():
    values = np.random.default_rng(1).normal(size=30)
    narrow, wide = (bootstrap_interval(values, level=level, seed=3) for level in (0.8, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(1).normal(size=30)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


@pytest.mark.parametrize("values", [[], [0.7]])
def test_fewer_than_two_patients_have_no_interval(values):
    assert np.isnan(bootstrap_interval(np.array(values), seed=1)).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1])
def test_equal_values_are_their_own_interval(value):
    assert bootstrap_interval(np.full(7, value), seed=1) == (value, value)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_undefined_values_are_refused(broken):
    with pytest.raises(ValueError, match="values: expected finite numbers, got 1"):
        bootstrap_interval(np.array([0.1, broken, 0.3]), seed=1)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_the_interval_is_defined_and_lies_within_the_values(values):
    low, high = bootstrap_interval(np.array(values), seed=1, resamples=200)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12
