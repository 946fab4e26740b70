"""Split-conformal prediction sets: the classes of a voxel, chosen so that the true class is rarely missing.

A voxel's set holds `region` if its probability is at least 1 - q and `background` if it is at most q; so it has one
class, both or none. The threshold q is chosen on validation patients so that the sets of 95 % of their voxels hold the
true class, with equal weight per patient. This is split-conformal prediction with the score 1 - p(truth). Its guarantee
holds for exchangeable units: patients, not voxels. For a level of 95 % it needs at least 19 patients; with fewer, q is
an estimate, and coverage on test patients measures its quality.

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
    """The smallest number of validation patients that allows a guarantee for the next patient: level / (1 - level)."""
    return math.ceil(round(level / (1 - level), 9))


def conformal_threshold(forecasts: Sequence[Forecast], *, level: float = LEVEL) -> float:
    """The smallest q with which this share of the voxels is covered by their sets, with equal weight per patient.

    Args:
        forecasts: one per validation patient; those without a voxel are left out.
        level: the share, 0..1.

    Returns:
        0..1, in steps of 1/65535; NaN without a voxel.
    """
    nonempty = [forecast for forecast in forecasts if forecast.voxels]
    if not nonempty:
        return math.nan
    weight = np.zeros(STEPS + 1)
    for forecast in nonempty:
        weight[STEPS - forecast.level] += forecast.inside / forecast.voxels
        weight[forecast.level] += forecast.outside / forecast.voxels
    share = np.cumsum(weight) / len(nonempty)
    return float(np.searchsorted(share, level - 1e-12)) / STEPS


def coverage(forecast: Forecast, *, threshold: float) -> float:
    """Share of the voxels whose set holds the true class.

    Args:
        forecast: of the voxels that count.
        threshold: q, of validation patients; NaN is unknown.

    Returns:
        0..1, ideally 0.95: more is not better, as sets that hold both classes always cover; NaN without a voxel
        or threshold.
    """
    return _share(forecast.inside @ _holds_region(forecast, threshold), forecast.outside, forecast, threshold)


def coverage_inside(forecast: Forecast, *, threshold: float) -> float:
    """Coverage of the voxels of the reference alone, the small class, where sets fail first. NaN without any."""
    return _of(forecast.inside, _holds_region(forecast, threshold), threshold)


def coverage_outside(forecast: Forecast, *, threshold: float) -> float:
    """Coverage of the voxels outside the reference alone; NaN without any."""
    return _of(forecast.outside, _holds_background(forecast, threshold), threshold)


def set_size(forecast: Forecast, *, threshold: float) -> float:
    """Mean number of classes in a voxel's set.

    Returns:
        0..2; near 1 is sharp, 2 carries no information; NaN without a voxel or threshold.
    """
    both = _holds_region(forecast, threshold).astype(int) + _holds_background(forecast, threshold)
    return _of(forecast.count, both, threshold)


def _share(covered_inside: float, outside: np.ndarray, forecast: Forecast, threshold: float) -> float:
    if math.isnan(threshold) or not forecast.voxels:
        return math.nan
    return float(covered_inside + outside @ _holds_background(forecast, threshold)) / forecast.voxels


def _of(count: np.ndarray, per_level: np.ndarray, threshold: float) -> float:
    total = count.sum()
    return float(count @ per_level) / float(total) if total and not math.isnan(threshold) else math.nan


def _holds_region(forecast: Forecast, threshold: float) -> np.ndarray:
    return STEPS - forecast.level <= _step(threshold)


def _holds_background(forecast: Forecast, threshold: float) -> np.ndarray:
    return forecast.level <= _step(threshold)


def _step(threshold: float) -> int:
    return -1 if math.isnan(threshold) else round(threshold * STEPS)
