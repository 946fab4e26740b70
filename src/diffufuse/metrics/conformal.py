"""Prediction sets: which answers a voxel may have, so that the true one is rarely missing.

A voxel's set holds `region` if its probability is at least 1 - q and `background` if it is at most q; so it has one
answer, both or none. The threshold q is chosen on validation patients so that 95 % of their voxels have the truth in
their sets, every patient counting alike. This is split-conformal prediction with the score 1 - p(truth). The guarantee
that comes with it is for what is exchangeable: patients, not voxels. For a level of 95 % it needs at least 19 patients;
with fewer q is an estimate, and coverage on test patients says how good.

Source:
    Angelopoulos and Bates 2021, arXiv:2107.07511; groups after Dunn et al. 2023, doi:10.1080/01621459.2022.2060112;
    segmentation after Davenport 2024, arXiv:2410.03406.
"""

import math
from collections.abc import Sequence

import numpy as np

from diffufuse.metrics.forecast import STEPS, Forecast

LEVEL = 0.95


def patients_for_a_guarantee(level: float = LEVEL) -> int:
    """The fewest validation patients of whom a guarantee for the next patient can follow: level / (1 - level)."""
    return math.ceil(round(level / (1 - level), 9))


def conformal_threshold(forecasts: Sequence[Forecast], *, level: float = LEVEL) -> float:
    """The smallest q with which that share of the voxels have the truth in their sets, patients counting alike.

    Args:
        forecasts: one per validation patient; those without a voxel are left out.
        level: the share, 0..1.

    Returns:
        0..1, in steps of 1/65535; NaN without a voxel.
    """
    known = [forecast for forecast in forecasts if forecast.voxels]
    if not known:
        return math.nan
    weight = np.zeros(STEPS + 1)
    for forecast in known:
        weight[STEPS - forecast.level] += forecast.inside / forecast.voxels
        weight[forecast.level] += forecast.outside / forecast.voxels
    share = np.cumsum(weight) / len(known)
    return float(np.searchsorted(share, level - 1e-12)) / STEPS


def coverage(forecast: Forecast, *, threshold: float) -> float:
    """Share of the voxels whose set holds the truth.

    Args:
        forecast: of the voxels that count.
        threshold: q, of validation patients; NaN is unknown.

    Returns:
        0..1, 0.95 if all is well: more is not better, as sets that hold both answers always cover; NaN without a voxel
        or threshold.
    """
    return _share(forecast.inside @ _holds_region(forecast, threshold), forecast.outside, forecast, threshold)


def coverage_inside(forecast: Forecast, *, threshold: float) -> float:
    """Coverage of the voxels of the reference alone; the small class is where sets fail first. NaN without any."""
    return _of(forecast.inside, _holds_region(forecast, threshold), threshold)


def coverage_outside(forecast: Forecast, *, threshold: float) -> float:
    """Coverage of the voxels outside the reference alone; NaN without any."""
    return _of(forecast.outside, _holds_background(forecast, threshold), threshold)


def set_size(forecast: Forecast, *, threshold: float) -> float:
    """Mean number of answers in a voxel's set.

    Returns:
        0..2; near 1 is sharp, 2 says nothing; NaN without a voxel or threshold.
    """
    both = _holds_region(forecast, threshold).astype(int) + _holds_background(forecast, threshold)
    return _of(forecast.count, both, threshold)


def _share(held: float, outside: np.ndarray, forecast: Forecast, threshold: float) -> float:
    if math.isnan(threshold) or not forecast.voxels:
        return math.nan
    return float(held + outside @ _holds_background(forecast, threshold)) / forecast.voxels


def _of(count: np.ndarray, held: np.ndarray, threshold: float) -> float:
    whole = count.sum()
    return float(count @ held) / float(whole) if whole and not math.isnan(threshold) else math.nan


def _holds_region(forecast: Forecast, threshold: float) -> np.ndarray:
    return STEPS - forecast.level <= _step(threshold)


def _holds_background(forecast: Forecast, threshold: float) -> np.ndarray:
    return forecast.level <= _step(threshold)


def _step(threshold: float) -> int:
    return -1 if math.isnan(threshold) else round(threshold * STEPS)
