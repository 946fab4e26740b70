import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from diffufuse.report.statistics import bootstrap_interval, hodges_lehmann, holm, signed_rank_p, smallest_p

DIFFERENCES = st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=30).map(np.array)


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


@pytest.mark.parametrize(
    ("differences", "typical"),
    [
        ([2.0], 2.0),
        ([1.0, 3.0], 2.0),
        ([1.0, 2.0, 6.0], 2.75),
        ([0.0, 0.0, 9.0], 2.25),
        ([-1.0, 0.0, 1.0, 100.0], 0.75),
    ],
)
def test_hodges_lehmann_of_small_sets_is_the_median_of_their_pairs(differences, typical):
    assert hodges_lehmann(np.array(differences)) == typical


def test_hodges_lehmann_of_nothing_is_undefined():
    assert math.isnan(hodges_lehmann(np.array([])))


def test_one_outlier_hardly_moves_hodges_lehmann():
    values = np.arange(21.0)
    assert hodges_lehmann(np.append(values[:-1], 1e6)) == pytest.approx(hodges_lehmann(values), abs=0.6)


@pytest.mark.parametrize("size", [6, 27, 80])
def test_without_zeros_the_signed_rank_p_is_that_of_scipy(size):
    differences = np.random.default_rng(size).normal(0.3, 1, size)
    assert signed_rank_p(differences) == pytest.approx(stats.wilcoxon(differences).pvalue, rel=1e-12)


def test_six_that_agree_have_the_smallest_p_of_two_signs():
    assert signed_rank_p(np.arange(1.0, 7)) == pytest.approx(2 / 2**6)
    assert signed_rank_p(-np.arange(1.0, 7)) == pytest.approx(2 / 2**6)


def test_zeros_count_as_pratt_says():
    differences = np.array([0.0, 0, 1, 2, 3, 4, 5, 6, -7])
    ranks = stats.rankdata(np.abs(differences))[2:]
    signs = 2 * np.indices((2,) * 7).reshape(7, -1) - 1
    sums = ranks @ signs
    observed = ranks @ np.sign(differences[2:])
    assert signed_rank_p(differences) == pytest.approx((np.abs(sums) >= abs(observed) - 1e-9).mean())


def test_equal_values_have_p_one():
    assert signed_rank_p(np.zeros(6)) == 1.0


@pytest.mark.parametrize("differences", [[], [0.0] * 5, [1.0] * 5, [0.0] * 20 + [1.0] * 5])
def test_too_few_differences_have_no_p(differences):
    assert math.isnan(signed_rank_p(np.array(differences)))


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_never_exceeds_one_and_leaves_one_alone():
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]
    assert holm(np.array([0.04])).tolist() == [0.04]
    assert holm(np.array([])).tolist() == []


def test_an_undefined_p_is_no_member_of_the_family():
    adjusted = holm(np.array([0.01, math.nan, 0.03]))
    assert adjusted[[0, 2]].tolist() == [0.02, 0.03]
    assert math.isnan(adjusted[1])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-9, 9).map(float), min_size=6, max_size=13).map(np.array))
def test_with_ties_and_zeros_the_signed_rank_p_is_that_of_scipy(differences):
    p = signed_rank_p(differences)
    if np.count_nonzero(differences) >= 6:
        assert p == pytest.approx(stats.wilcoxon(differences, zero_method="pratt").pvalue, rel=1e-12)
    else:
        assert math.isnan(p) or (p == 1 and not differences.any())


@pytest.mark.parametrize("size", [60, 200])
def test_many_differences_have_the_p_of_the_normal_approximation(size):
    differences = np.random.default_rng(size).normal(0.2, 1, size).round(1)
    expected = stats.wilcoxon(differences, zero_method="pratt", method="approx").pvalue
    assert signed_rank_p(differences) == expected


def test_at_fifty_the_exact_p_and_the_approximation_meet():
    differences = np.random.default_rng(4).normal(0.3, 1, 50).round(1)
    approximate = stats.wilcoxon(differences, zero_method="pratt", method="approx").pvalue
    assert signed_rank_p(differences) == pytest.approx(approximate, rel=0.05)


@given(DIFFERENCES)
def test_no_p_is_smaller_than_the_signs_of_so_few_differences_allow(differences):
    p, differing = signed_rank_p(differences), np.count_nonzero(differences)
    assert math.isnan(p) or smallest_p(differing) <= p <= 1


def test_many_zeros_make_six_that_agree_no_surer():
    many_zeros = np.append(np.zeros(24), np.ones(6))
    assert signed_rank_p(many_zeros) == pytest.approx(2 / 2**6)
    assert stats.wilcoxon(many_zeros, zero_method="pratt", method="approx").pvalue < 0.02


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p):
    assert holm(np.array(p)) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-15)


@pytest.mark.parametrize("differing", range(1, 9))
def test_the_smallest_p_is_that_of_differences_that_all_agree(differing):
    assert smallest_p(differing) == stats.wilcoxon(np.arange(1.0, differing + 1)).pvalue


def test_no_difference_has_no_smaller_p_than_one():
    assert smallest_p(0) == 1.0
