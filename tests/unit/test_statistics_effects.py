import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from diffufuse.report.statistics import aurc, not_paired, rank_biserial, refusal, signed_rank_p, spread

DIFFERENCES = st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=30).map(np.array)


@pytest.mark.parametrize(
    ("differences", "effect"),
    [
        ([1.0, 2.0, 3.0], 1.0),
        ([-1.0, -2.0], -1.0),
        ([1.0, 2.0, -3.0], 0.0),
        ([3.0, 2.0, -1.0], 4 / 6),
        ([5.0, -5.0, 5.0], 1 / 3),
        ([0.0, 0.0, 4.0, -1.0], 1 / 7),
    ],
)
def test_rank_biserial_by_hand(differences, effect):
    assert rank_biserial(np.array(differences)) == pytest.approx(effect)


@pytest.mark.parametrize("differences", [[], [0.0] * 9])
def test_what_nowhere_differs_has_no_effect_size(differences):
    assert math.isnan(rank_biserial(np.array(differences)))


@given(DIFFERENCES)
def test_the_effect_size_is_of_the_same_ranks_as_the_test(differences):
    if np.count_nonzero(differences):
        ranks = stats.rankdata(np.abs(differences))
        total = ranks[differences != 0].sum()
        smaller = stats.wilcoxon(differences, zero_method="pratt", method="approx").statistic
        assert abs(rank_biserial(differences)) == pytest.approx(1 - 2 * smaller / total)
        assert rank_biserial(-differences) == pytest.approx(-rank_biserial(differences))


@given(DIFFERENCES)
def test_a_test_is_refused_where_it_has_no_p_or_says_nothing(differences):
    p = signed_rank_p(differences)
    assert (refusal(differences) is None) == (not math.isnan(p) and bool(differences.any()))


@pytest.mark.parametrize(
    ("differences", "sentence"),
    [
        (
            [1.0, 2, -3, 4, 5],
            "Too few patients: n = 5; the smallest possible p is 0.0625; 6 differing patients are needed.",
        ),
        (
            [0.0, 0, 0, 1, 2, 3],
            "Too few patients: n = 3 besides 3 that are identical; the smallest possible p is 0.25; 6 differing "
            "patients are needed.",
        ),
        ([0.0] * 7, "Nothing differs: the two are identical on all 7 patients."),
        ([1.0] * 6, None),
    ],
)
def test_refusals_are_sentences(differences, sentence):
    assert refusal(np.array(differences)) == sentence


def test_two_models_on_different_patients_are_not_paired_and_the_sentence_counts_them():
    assert not_paired("a", ["P1", "P2"], "b", ["P2", "P1"]) is None
    assert not_paired("a", ["P1", "P2", "P3"], "b", ["P3", "P4"]) == (
        "Not paired: a was tested on 3 patients, b on 2; they share 1. Test both on the same patients."
    )


def test_seeds_and_patients_vary_apart_by_hand():
    apart = spread(np.array([[0.1, 0.3], [0.5, 0.7], [0.9, 1.1]]))
    assert (apart.seeds, apart.patients) == (2, 3)
    assert apart.between_seeds == pytest.approx(0.2 / math.sqrt(2))
    assert apart.between_patients == pytest.approx(0.4)


def test_only_seeds_that_move_the_mean_count_between_seeds():
    shuffled = np.array([[0.2, 0.8], [0.8, 0.2]])
    assert spread(shuffled).between_seeds == 0
    assert spread(shuffled).between_patients == 0


def test_one_seed_tells_nothing_of_seeds_and_one_patient_nothing_of_patients():
    assert math.isnan(spread(np.array([[0.1], [0.3]])).between_seeds)
    assert math.isnan(spread(np.array([[0.1, 0.3]])).between_patients)


def test_a_patient_undefined_under_one_seed_is_left_out_of_both():
    apart = spread(np.array([[0.1, 0.3], [math.nan, 0.9], [0.5, 0.7]]))
    assert apart == spread(np.array([[0.1, 0.3], [0.5, 0.7]]))
    nobody = spread(np.full((2, 3), math.nan))
    assert (nobody.seeds, nobody.patients) == (3, 0)
    assert math.isnan(nobody.between_seeds)


def test_aurc_by_hand():
    risk = np.array([0.1, 0.2, 0.6])
    assert aurc(risk, np.array([1.0, 2, 3])) == pytest.approx((0.1 + 0.15 + 0.3) / 3)
    assert aurc(risk, np.array([3.0, 2, 1])) == pytest.approx((0.6 + 0.4 + 0.3) / 3)


def test_doubt_that_says_nothing_costs_the_mean_risk():
    assert aurc(np.array([0.1, 0.2, 0.6]), np.full(3, 7.0)) == pytest.approx(0.3)


def test_tied_doubts_are_the_mean_over_their_orders():
    risk, doubt = np.array([0.5, 0.1, 0.9, 0.3]), np.array([1.0, 1.0, 2.0, 2.0])
    orders = [[0, 1, 2, 3], [0, 1, 3, 2], [1, 0, 2, 3], [1, 0, 3, 2]]
    expected = np.mean([aurc(risk[order], np.arange(4.0)) for order in orders])
    assert aurc(risk, doubt) == pytest.approx(expected)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_no_doubt_beats_the_risk_itself(pairs):
    risk, doubt = np.array(pairs).T
    assert aurc(risk, risk) - 1e-12 <= aurc(risk, doubt) <= aurc(risk, -risk) + 1e-12


def test_nobody_has_no_risk():
    assert math.isnan(aurc(np.array([]), np.array([])))
