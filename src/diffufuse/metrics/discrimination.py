"""Discrimination at every threshold: ROC and precision-recall curves.

Neither measures calibration (see `calibration`), and both depend on the set of voxels: over a whole body nearly all
voxels are unambiguous background, and the area under the ROC curve comes close to 1 for any model. Precision and recall
depend on the prevalence, which is reported with them.

Source:
    Fawcett 2006, doi:10.1016/j.patrec.2005.10.010; Davis and Goadrich 2006, doi:10.1145/1143844.1143874.
"""

import math

import numpy as np
from jaxtyping import Float

from diffufuse.metrics.forecast import Forecast

Curve = tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"], Float[np.ndarray, " t"]]


def auc(forecast: Forecast) -> float:
    """Area under the ROC curve: the probability that a voxel of the reference ranks above one outside, ties half.

    Returns:
        0..1; NaN if no voxel, or every voxel, belongs to the reference.

    Source:
        Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    """
    pairs = float(forecast.inside.sum()) * float(forecast.outside.sum())
    if not pairs:
        return math.nan
    below = np.cumsum(forecast.outside) - forecast.outside
    return float((forecast.inside * (below + forecast.outside / 2)).sum() / pairs)


def ap(forecast: Forecast) -> float:
    """Average precision: the mean of the precision at each threshold, weighted by the recall that it adds.

    Returns:
        0..1, the prevalence for a constant forecast; NaN if no voxel belongs to the reference.

    Source:
        Davis and Goadrich 2006, doi:10.1145/1143844.1143874; no interpolation, as in scikit-learn.
    """
    if not forecast.inside.any():
        return math.nan
    _, recall, precision = precision_recall_curve(forecast)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def roc_curve(forecast: Forecast) -> Curve:
    """The ROC curve: one point for each probability that occurs, from the strictest threshold on.

    Returns:
        Threshold (a voxel is positive from it on), false positive rate and true positive rate; rates are NaN
        without voxels of their class.
    """
    rates = (_cumulated(side) / _whole(side) for side in (forecast.outside, forecast.inside))
    return (forecast.probability[::-1], *rates)  # type: ignore[return-value]


def precision_recall_curve(forecast: Forecast) -> Curve:
    """The precision-recall curve: one point for each probability that occurs, from the strictest threshold on.

    Returns:
        Threshold, recall and precision; recall is NaN if nothing belongs to the reference.
    """
    inside = _cumulated(forecast.inside)
    return forecast.probability[::-1], inside / _whole(forecast.inside), inside / _cumulated(forecast.count)


def _cumulated(count: np.ndarray) -> np.ndarray:
    return np.cumsum(count[::-1])


def _whole(count: np.ndarray) -> float:
    return float(count.sum()) or math.nan
