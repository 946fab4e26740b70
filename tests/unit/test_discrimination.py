import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffufuse.metrics.discrimination import ap, auc, precision_recall_curve, roc_curve
from diffufuse.metrics.forecast import STEPS, forecast_of


def said(probability, reference):
    return forecast_of(np.array(probability, float), np.array(reference, bool))


def drawn(seed, size=60, *, steps=8):
    """A forecast with many ties, with voxels inside and outside."""
    draw = np.random.default_rng(seed)
    probability, reference = draw.integers(0, steps, size) / steps, draw.random(size) < 0.4
    reference[:2] = True, False
    return probability, reference


def test_who_ranks_all_rightly_has_all_and_who_ranks_all_wrongly_nothing():
    assert auc(said([0.1, 0.2, 0.8, 0.9], [False, False, True, True])) == 1
    assert ap(said([0.1, 0.2, 0.8, 0.9], [False, False, True, True])) == 1
    assert auc(said([0.1, 0.2, 0.8, 0.9], [True, True, False, False])) == 0
    # the last two of four: precision 1/3 and 2/4
    assert ap(said([0.1, 0.2, 0.8, 0.9], [True, True, False, False])) == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_a_constant_forecast_ranks_nothing():
    constant = said(np.full(10, 0.3), np.arange(10) < 3)
    assert auc(constant) == 0.5
    assert ap(constant) == pytest.approx(0.3)


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_the_area_is_how_often_a_voxel_inside_is_given_more_than_one_outside(seed):
    probability, reference = drawn(seed)
    above = probability[reference][:, None] - probability[~reference][None]
    assert auc(forecast_of(probability, reference)) == pytest.approx(((above > 0) + (above == 0) / 2).mean(), abs=1e-12)


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_what_is_turned_around_has_the_rest_of_the_area(seed):
    probability, reference = drawn(seed)
    there, back = forecast_of(probability, reference), forecast_of(1 - probability, reference)
    assert auc(there) + auc(back) == pytest.approx(1)
    assert auc(forecast_of(probability, ~reference)) == pytest.approx(auc(back))


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_a_monotone_change_of_all_probabilities_changes_no_rank(seed):
    probability, reference = drawn(seed)
    before, after = forecast_of(probability, reference), forecast_of(probability**3, reference)
    assert auc(before) == auc(after)
    assert ap(before) == ap(after)


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_curves_have_a_point_for_each_probability_and_end_with_everything(seed):
    probability, reference = drawn(seed)
    forecast = forecast_of(probability, reference)
    threshold, false_positive, true_positive = roc_curve(forecast)
    same, recall, precision = precision_recall_curve(forecast)
    assert np.array_equal(threshold, same)
    assert threshold.size == np.unique(probability).size
    for place, least in enumerate(threshold):
        positive = np.rint(probability * STEPS) >= round(least * STEPS)
        assert true_positive[place] == recall[place] == pytest.approx(positive[reference].mean())
        assert false_positive[place] == pytest.approx(positive[~reference].mean())
        assert precision[place] == pytest.approx(reference[positive].mean())
    assert true_positive[-1] == false_positive[-1] == 1
    assert precision[-1] == pytest.approx(reference.mean())
    area = np.trapezoid(np.append(0, true_positive), np.append(0, false_positive))
    assert auc(forecast) == pytest.approx(area)


def test_without_a_reference_or_without_background_ranks_are_undefined():
    none, every = said([0.2, 0.6], [False, False]), said([0.2, 0.6], [True, True])
    assert math.isnan(auc(none))
    assert math.isnan(auc(every))
    assert math.isnan(ap(none))
    assert ap(every) == 1
    assert np.isnan(roc_curve(none)[2]).all()
    assert np.isnan(roc_curve(every)[1]).all()
    assert np.isnan(precision_recall_curve(none)[1]).all()
    empty = said([], [])
    assert math.isnan(auc(empty))
    assert math.isnan(ap(empty))
    assert all(part.size == 0 for part in (*roc_curve(empty), *precision_recall_curve(empty)))
