"""Prediction intervals of volumes from several samples of one model, and their coverage.

Source:
    Lambert et al. 2024, arXiv:2407.19938.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from diffufuse.metrics.overlap import reference_volume_ml
from diffufuse.types import Mask, Spacing

LEVEL = 0.95
ROUNDING = 1e-12  # of a volume; samples that all equal the reference have a mean that may differ by 1e-16 of it


def volume_interval(samples_ml: Sequence[float], *, level: float = LEVEL) -> tuple[float, float]:
    """Prediction interval for another sample of the volume: mean ± t sqrt(1 + 1 / K) SD, with Student's t of K - 1.

    It covers the variation due to the sampled noise alone: a confidently wrong model has a narrow interval off the
    truth.

    Args:
        samples_ml: K volumes.
        level: share of samples that should lie within, 0..1.

    Returns:
        mL, at least 0; (NaN, NaN) for fewer than two samples.
    """
    count = len(samples_ml)
    if count < 2:
        return math.nan, math.nan
    half = stats.t.ppf((1 + level) / 2, count - 1) * math.sqrt(1 + 1 / count) * float(np.std(samples_ml, ddof=1))
    mean = float(np.mean(samples_ml))
    return max(mean - half, 0.0), mean + half


def volume_covered(prediction: Mask, reference: Mask, *, spacing_mm: Spacing, samples_ml: Sequence[float]) -> float:
    """1 if the reference's volume lies in the 95 % interval of the samples, otherwise 0; NaN without samples."""
    low, high = volume_interval(samples_ml)
    if math.isnan(low):
        return math.nan
    volume = reference_volume_ml(prediction, reference, spacing_mm=spacing_mm)
    return float(low - ROUNDING * volume <= volume <= high + ROUNDING * volume)


def volume_interval_ml(prediction: Mask, reference: Mask, *, samples_ml: Sequence[float]) -> float:
    """Width of the 95 % interval of the samples, mL; NaN without samples."""
    low, high = volume_interval(samples_ml)
    return high - low
