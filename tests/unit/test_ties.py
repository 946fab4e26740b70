"""Values that differ by rounding alone are ties, wherever ranks or an order of patients come from them."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from diffufuse.metrics.intervals import volume_covered
from diffufuse.report.figures.risk_coverage import retained_risk
from diffufuse.report.pictures.extremes import ranked_cases
from diffufuse.report.statistics import aurc, hodges_lehmann, rank_biserial, refusal, signed_rank_p
from diffufuse.report.tables.comparison import FAMILY, paired
from diffufuse.report.ties import tie_groups, with_ties

# Dice values of two models in tenths; subtracted, they give 0.1 in several ways that differ by 1e-16.
FIRST = np.array([0.9, 0.3, 0.8, 0.7, 0.6, 0.4, 1.0, 0.5])
SECOND = np.array([0.8, 0.4, 0.9, 0.6, 0.5, 0.3, 0.9, 0.4])
TENTHS = np.rint(10 * (FIRST - SECOND))
DICE = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=6, max_size=11)


def enumerated_p(differences):
    """Two-sided p over all signs of the nonzero differences, whose ranks include the zeros (Pratt)."""
    ranks = stats.rankdata(np.abs(differences))[differences != 0]
    signs = 2 * np.indices((2,) * ranks.size).reshape(ranks.size, -1) - 1
    observed = ranks @ np.sign(differences[differences != 0])
    return (np.abs(ranks @ signs) >= abs(observed) - 1e-9).mean()


def values_of(*models):
    """The table of one family of comparisons, from values by patient."""
    family = dict.fromkeys(FAMILY, "x")
    return pd.DataFrame(
        [
            family | {"model": f"m{number}", "patient": f"P{patient}", "value": value}
            for number, model in enumerate(models)
            for patient, value in enumerate(model)
        ]
    )


def test_differences_equal_but_for_rounding_are_ties():
    assert len(set(np.abs(FIRST - SECOND).tolist())) > 1
    assert signed_rank_p(FIRST - SECOND) == pytest.approx(0.2890625)
    assert signed_rank_p(FIRST - SECOND) == signed_rank_p(TENTHS) == pytest.approx(enumerated_p(TENTHS))
    assert rank_biserial(FIRST - SECOND) == rank_biserial(TENTHS) == 0.5


@given(DICE)
def test_the_p_of_values_in_twentieths_is_that_of_their_numerators(pairs):
    first, second = np.array(pairs).T
    found = paired(values_of(first / 20, second / 20), "m0", "m1", study_seed=1)
    whole = (first - second).astype(float)
    assert found["zero"] == np.count_nonzero(whole == 0)
    assert found["refusal"] == (refusal(whole) or "")
    if np.count_nonzero(whole) >= 6:
        assert found["p"] == pytest.approx(enumerated_p(whole))
        assert found["rank_biserial"] == pytest.approx(rank_biserial(whole))
        assert found["hodges_lehmann"] == pytest.approx(hodges_lehmann(whole) / 20)


def test_many_differences_have_the_approximate_p_of_scipy_with_their_ties():
    numerators = np.random.default_rng(3).integers(-6, 9, 90)
    offset = np.random.default_rng(4).uniform(0.2, 0.6, 90)
    expected = stats.wilcoxon(numerators, zero_method="pratt", method="approx").pvalue
    assert signed_rank_p((offset + numerators / 20) - offset) == pytest.approx(expected, rel=1e-9)


def test_the_mean_over_seeds_does_not_depend_on_their_order():
    seeds = np.random.default_rng(2).uniform(size=(9, 5))
    first, second = (np.array([sum(row) / 5 for row in part]) for part in (seeds, seeds[:, ::-1]))
    assert (first != second).any()
    found = paired(values_of(first, second), "m0", "m1", study_seed=1)
    assert found["zero"] == 9
    assert found["refusal"] == "Nothing differs: the two are identical on all 9 patients."
    assert (found["difference"], found["hodges_lehmann"], found["low"], found["high"]) == (0, 0, 0, 0)
    assert math.isnan(found["rank_biserial"])


def test_differences_far_above_rounding_are_no_ties():
    differences = np.array([0.1, 0.1 + 1e-9, 0.1 + 2e-9, 1e-9])
    assert np.array_equal(with_ties(differences, scale=1.0), differences)
    assert tie_groups(differences).tolist() == [1, 2, 3, 0]


def test_undefined_values_are_the_greatest_and_tie():
    assert tie_groups(np.array([np.nan, 0.1 + 0.2, 0.3, np.inf, -1])).tolist() == [2, 1, 1, 2, 0]
    assert tie_groups(np.array([])).tolist() == []


def test_patients_of_equal_uncertainty_share_their_risk_whatever_the_rounding():
    risk, uncertainty, rounded = np.array([0.0, 0.9, 0.5]), np.array([0.3, 0.3, 0.1]), np.array([0.3, 0.1 + 0.2, 0.1])
    assert aurc(risk, rounded) == aurc(risk, uncertainty)
    assert retained_risk(risk, rounded).tolist() == retained_risk(risk, uncertainty).tolist()


def test_cases_of_equal_dice_are_ranked_by_name_whatever_the_rounding():
    cases = {"a": 0.3, "b": 0.1 + 0.2, "c": 0.5}
    metrics = pd.DataFrame([{"metric": "dice", "case": name, "value": value} for name, value in cases.items()])
    assert ranked_cases(metrics) == {"best": "c", "median": "a", "worst": "b"}


def test_samples_that_all_equal_the_reference_cover_it():
    reference = np.ones((1, 1, 3), bool)
    volume_ml = 3 * 0.7**3 / 1000
    for samples_ml in ([volume_ml] * 3, [volume_ml] * 7, [volume_ml * (1 + 1e-15)] * 5):
        assert volume_covered(reference, reference, spacing_mm=(0.7, 0.7, 0.7), samples_ml=samples_ml) == 1
    assert volume_covered(reference, reference, spacing_mm=(0.7, 0.7, 0.7), samples_ml=[volume_ml * 1.0001] * 3) == 0
