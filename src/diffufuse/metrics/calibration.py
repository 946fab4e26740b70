"""Calibration metrics: of the voxels with a predicted probability of 0.8, four of five should belong to the region.

Each region is a binary problem: the error is that of its own probability, not that of the most probable class.

ECE, ACE and MCE share bins. In bin b with n_b of the N voxels, c_b is the mean probability and o_b the share that
belongs to the reference. Bins have equal width on 0..1, [left, right), the last one closed; or equal mass, where every
bin holds the same number of voxels as nearly as probabilities that occur more than once allow. Both do not
measure discrimination: a constant forecast of the prevalence is perfectly calibrated. The Brier score and the negative
log-likelihood are proper scores: the true probabilities minimize them.

All are NaN for a forecast without voxels.

Source:
    Barfoot et al. 2025, arXiv:2506.03942 (class-wise ECE, ACE, MCE with 20 bins); Mehrtash et al. 2020,
    arXiv:1911.13273 (ECE, Brier, NLL around the structure); Guo et al. 2017, arXiv:1706.04599 (15 bins).
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from diffufuse.metrics.forecast import STEPS, Forecast

BINS = 20
CLIP = 1e-7


class Bins(NamedTuple):
    """The bins of a reliability diagram that hold at least one voxel.

    Attributes:
        mean_probability: mean probability c_b.
        true: share of the voxels that belong to the reference, o_b.
        voxels: n_b.
    """

    mean_probability: Float[np.ndarray, " bin"]
    true: Float[np.ndarray, " bin"]
    voxels: Int[np.ndarray, " bin"]

    @property
    def gap(self) -> Float[np.ndarray, " bin"]:
        """|c_b - o_b|."""
        return np.abs(self.mean_probability - self.true)


def equal_width(forecast: Forecast, *, bins: int = BINS) -> Bins:
    """The forecast in bins of equal width."""
    return _binned(forecast, np.minimum(forecast.level * bins // STEPS, bins - 1), bins)


def equal_mass(forecast: Forecast, *, bins: int = BINS) -> Bins:
    """The forecast in bins of equal mass; voxels of equal probability share the bin of their median rank."""
    count = forecast.count
    middle = np.cumsum(count) - count / 2
    return _binned(forecast, (bins * middle / max(forecast.voxels, 1)).astype(np.intp), bins)


def ece(forecast: Forecast, *, bins: int = BINS) -> float:
    """Expected calibration error in bins of equal width: sum_b n_b / N |c_b - o_b|.

    Args:
        forecast: of the voxels that count.
        bins: number of bins B; 15 in much of the literature.

    Returns:
        0..1; the error rate if every probability is 0 or 1.

    Source:
        Barfoot et al. 2025, arXiv:2506.03942.
    """
    return _expected(equal_width(forecast, bins=bins))


def ace(forecast: Forecast, *, bins: int = BINS) -> float:
    """Average calibration error in bins of equal width: the unweighted mean over occupied bins.

    Source:
        Barfoot et al. 2025, arXiv:2506.03942.
    """
    return _average(equal_width(forecast, bins=bins))


def mce(forecast: Forecast, *, bins: int = BINS) -> float:
    """Maximum calibration error in bins of equal width; a bin may hold a single voxel.

    Source:
        Barfoot et al. 2025, arXiv:2506.03942.
    """
    return _maximum(equal_width(forecast, bins=bins))


def ece_equal_mass(forecast: Forecast, *, bins: int = BINS) -> float:
    """Expected calibration error in bins of equal mass.

    Source:
        Nixon et al. 2019, arXiv:1904.01685.
    """
    return _expected(equal_mass(forecast, bins=bins))


def ace_equal_mass(forecast: Forecast, *, bins: int = BINS) -> float:
    """Average calibration error in bins of equal mass.

    Source:
        Nixon et al. 2019, arXiv:1904.01685.
    """
    return _average(equal_mass(forecast, bins=bins))


def mce_equal_mass(forecast: Forecast, *, bins: int = BINS) -> float:
    """Maximum calibration error in bins of equal mass.

    Source:
        Nixon et al. 2019, arXiv:1904.01685.
    """
    return _maximum(equal_mass(forecast, bins=bins))


def brier(forecast: Forecast) -> float:
    """Brier score: the mean of (p - y)².

    Returns:
        0..1.

    Source:
        Brier 1950, Monthly Weather Review 78:1; Mehrtash et al. 2020, arXiv:1911.13273.
    """
    p = forecast.probability
    return _mean(forecast.inside * (1 - p) ** 2 + forecast.outside * p**2, forecast)


def nll(forecast: Forecast) -> float:
    """Negative log-likelihood: the mean of -ln of the probability of the true class.

    Returns:
        0..16.1 nats; probabilities are clipped to 1e-7..1 - 1e-7.

    Source:
        Mehrtash et al. 2020, arXiv:1911.13273.
    """
    p = np.clip(forecast.probability, CLIP, 1 - CLIP)
    return _mean(-forecast.inside * np.log(p) - forecast.outside * np.log1p(-p), forecast)


def prevalence(forecast: Forecast) -> float:
    """Share of the voxels that belong to the reference; it determines the scores of a constant forecast."""
    return _mean(forecast.inside, forecast)


def uncertainty(forecast: Forecast) -> float:
    """Predictive entropy per expected voxel of the region: sum H(p) / sum p in bits, H the binary entropy.

    It needs no reference, so it is available for new patients. Where hardly anything is predicted, the denominator is
    small and the uncertainty large, as intended.

    Returns:
        At least 0; NaN where every probability is 0.
    """
    p = forecast.probability
    expected = float((forecast.count * p).sum())
    return float((forecast.count * entropy_bits(p)).sum()) / expected if expected else math.nan


def entropy_bits(probability: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Binary entropy: -p log2 p - (1 - p) log2 (1 - p), 0..1 bit."""
    p = np.clip(probability, CLIP, 1 - CLIP)
    bits = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    return np.where((probability > 0) & (probability < 1), bits, 0.0)


def _binned(forecast: Forecast, bin_index: np.ndarray, bins: int) -> Bins:
    count, probability_sum, inside_count = (
        np.bincount(bin_index, weights=weights, minlength=bins)
        for weights in (forecast.count, forecast.count * forecast.probability, forecast.inside)
    )
    occupied = count > 0
    return Bins(
        probability_sum[occupied] / count[occupied],
        inside_count[occupied] / count[occupied],
        count[occupied].astype(np.int64),
    )


def _expected(bins: Bins) -> float:
    return float((bins.gap * bins.voxels).sum() / bins.voxels.sum()) if bins.gap.size else math.nan


def _average(bins: Bins) -> float:
    return float(bins.gap.mean()) if bins.gap.size else math.nan


def _maximum(bins: Bins) -> float:
    return float(bins.gap.max()) if bins.gap.size else math.nan


def _mean(total: np.ndarray, forecast: Forecast) -> float:
    return float(total.sum()) / forecast.voxels if forecast.voxels else math.nan
