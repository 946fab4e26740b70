"""How near a fused image is to its sources, pixel by pixel: PSNR in three forms, correlation, SCD."""

import math

import numpy as np

from diffufuse.metrics.fusion.images import Fusion, is_constant
from diffufuse.metrics.fusion.windows import Plane


def psnr(images: Fusion) -> float:
    """Peak signal-to-noise ratio, the mean of both sources' own: of -10 log10 MSE(A, F) and of B; the peak is 1.

    Returns:
        0..∞ dB; infinite if the fused image equals a source.

    Source:
        Horé and Ziou 2010, doi:10.1109/ICPR.2010.579; that Fuse4Seg's table has this mean, only its numbers tell.
    """
    return sum(_decibel(1, _mse(source, images.fused)) for source in images.sources) / 2


def psnr_of_mean(images: Fusion) -> float:
    """PSNR of the mean of both MSE; the peak is 1.

    Of all images the plain average of the sources has the largest, so it cannot rank methods.

    Returns:
        0..∞ dB; infinite if all three images are equal.

    Source:
        Ma et al. 2019, doi:10.1016/j.inffus.2018.02.004.
    """
    return _decibel(1, _mean_mse(images))


def psnr_of_peak(images: Fusion) -> float:
    """The same with the fused image's own maximum as the peak.

    Returns:
        -∞..∞ dB; infinite if all three images are equal, NaN if they are black besides.

    Source:
        The evaluator of CDDFuse (Zhao et al. 2023, arXiv:2211.14461), which DM-FNet shares.
    """
    return _decibel(float(images.fused.max()), _mean_mse(images))


def cc(images: Fusion) -> float:
    """Pearson's correlation with the fused image, the mean of both sources.

    Returns:
        -1..1; NaN if an image is constant.

    Source:
        Ma et al. 2019, doi:10.1016/j.inffus.2018.02.004.
    """
    return sum(_correlation(source, images.fused) for source in images.sources) / 2


def scd(images: Fusion) -> float:
    """Sum of the correlations of differences: r(F - B, A) + r(F - A, B).

    Returns:
        -2..2; NaN if a source or a difference is constant, as for F = A.

    Source:
        Aslantas and Bendes 2015, doi:10.1016/j.aeue.2015.09.004.
    """
    return _correlation(images.fused - images.b, images.a) + _correlation(images.fused - images.a, images.b)


def _mse(source: Plane, fused: Plane) -> float:
    return float(np.mean((source - fused) ** 2))


def _mean_mse(images: Fusion) -> float:
    return sum(_mse(source, images.fused) for source in images.sources) / 2


def _decibel(peak: float, mse: float) -> float:
    if not peak:
        return -math.inf if mse else math.nan
    return 20 * math.log10(peak) - 10 * math.log10(mse) if mse else math.inf


def _correlation(one: Plane, other: Plane) -> float:
    if is_constant(one) or is_constant(other):
        return math.nan
    one, other = one - one.mean(), other - other.mean()
    r = float(np.vdot(one, other)) / math.sqrt(float(np.vdot(one, one)) * float(np.vdot(other, other)))
    return min(max(r, -1.0), 1.0)
