"""Structure that a fused image shares with its sources: SSIM, MS-SSIM and visual information fidelity.

Windows lie wholly inside the image. An image with a side too short for the windows is undefined (NaN).
"""

import math

import numpy as np

from diffufuse.metrics.fusion.images import SSIM_SIDE, SSIM_SIGMA, Fusion
from diffufuse.metrics.fusion.windows import Moments, Plane, Planes, gaussian_window, moments, uniform_window, weighted

SOURCES = (0, 1)
UNIFORM_SIDE = 7
C1, C2 = 0.01**2, 0.03**2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_SIDE = SSIM_SIDE * 2 ** (len(SCALE_WEIGHTS) - 1)
# The windows of VIF's four scales; the SD is a fifth. Every scale after the first is half as large.
VIF_SIDES = (17, 9, 5, 3)
VIF_SIDE = 41
# Variance of the visual noise, and the variance below which a window is flat, both of gray levels.
VISUAL_NOISE, FLAT = 2.0, 1e-10


def ssim(images: Fusion) -> float:
    """Structural similarity to each source, averaged: Gaussian window 11x11, SD 1.5, peak 1, K 0.01 and 0.03.

    Returns:
        -1..1, 1 if all three images are equal; NaN if a side is below 11.

    Source:
        Wang et al. 2004, doi:10.1109/TIP.2003.819861.
    """
    if images.smallest_side < SSIM_SIDE:
        return math.nan
    return sum(_similarity(images.moments, source) for source in SOURCES) / 2


def ssim_sum(images: Fusion) -> float:
    """Structural similarity to each source, summed: plain window 7x7, covariance over n - 1, peak 1.

    Returns:
        -2..2, 2 if all three images are equal; NaN if a side is below 7.

    Source:
        scikit-image's `structural_similarity` by default, as the evaluators of CDDFuse and DM-FNet call it.
    """
    if images.smallest_side < UNIFORM_SIDE:
        return math.nan
    local = moments(images.stack, uniform_window(UNIFORM_SIDE))
    sample = UNIFORM_SIDE**2 / (UNIFORM_SIDE**2 - 1)
    return sum(_similarity(local, source, scale=sample) for source in SOURCES)


def ms_ssim(images: Fusion) -> float:
    """Multi-scale structural similarity to each source, averaged: 5 scales, each the mean of 2x2 of the one before.

    Contrast and structure of each scale, and the luminance of the last, to the powers of Wang's weights. A scale
    with a negative mean counts as 0.

    Returns:
        0..1, 1 if all three images are equal; NaN if a side is below 176.

    Source:
        Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216.
    """
    if images.smallest_side < MS_SSIM_SIDE:
        return math.nan
    stack, local = images.stack, images.moments
    window = gaussian_window(SSIM_SIDE, SSIM_SIGMA)
    products = np.ones(2)
    for weight in SCALE_WEIGHTS[:-1]:
        terms = [float(_contrast(local, source).mean()) for source in SOURCES]
        products *= np.maximum(terms, 0) ** weight
        stack = _halved(stack)
        local = moments(stack, window)
    last = [_similarity(local, source) for source in SOURCES]
    return float((products * np.maximum(last, 0) ** SCALE_WEIGHTS[-1]).mean())


def vif(images: Fusion) -> float:
    """Visual information fidelity in the pixel domain, summed: 4 scales of gray levels, visual noise of variance 2.

    Of a source, the information that passes through the fused image over that which it holds itself.

    Returns:
        0..∞, 2 if all three images are equal, above if contrast is enhanced; NaN if a source is constant or a side is
        below 41.

    Source:
        Sheikh and Bovik 2006, doi:10.1109/TIP.2005.859378; pixel domain, as `vif_p` of piq and the evaluator of
        CDDFuse, which give 1 for a constant source.
    """
    if images.smallest_side < VIF_SIDE or any(images.constant[:2]):
        return math.nan
    stack = images.levels
    passed, held = np.zeros(2), np.zeros(2)
    for scale, side in enumerate(VIF_SIDES):
        window = gaussian_window(side, side / 5)
        if scale:
            stack = np.stack([weighted(image, window, step=2) for image in stack])
        local = moments(stack, window)
        information = [_information(local, source) for source in SOURCES]
        passed += [through for through, _ in information]
        held += [whole for _, whole in information]
    return float((passed / held).sum()) if held.all() else math.nan


def _similarity(local: Moments, source: int, *, scale: float = 1.0) -> float:
    """The mean of SSIM over the windows, for one source; `scale` multiplies variances and covariances."""
    return float((_light(local, source) * _contrast(local, source, scale=scale)).mean())


def _light(local: Moments, source: int) -> Plane:
    """The luminance term of SSIM."""
    mean, fused_mean = local.means[source], local.fused_mean
    return (2 * mean * fused_mean + C1) / (mean * mean + fused_mean * fused_mean + C1)


def _contrast(local: Moments, source: int, *, scale: float = 1.0) -> Plane:
    """The term of contrast and structure."""
    c2 = C2 / scale
    return (2 * local.covariances[source] + c2) / (local.variances[source] + local.fused_variance + c2)


def _halved(images: Planes) -> Planes:
    """The means of 2x2 pixels; the last row or column of an odd number is left out."""
    rows, columns = (side // 2 * 2 for side in images.shape[1:])
    upper, lower = images[:, :rows:2, :columns], images[:, 1:rows:2, :columns]
    tall = upper + lower
    return (tall[..., ::2] + tall[..., 1::2]) / 4


def _information(local: Moments, source: int) -> tuple[float, float]:
    """Information of one source at one scale, nat: what passes through the fused image, and the whole.

    The fused image is a gain times the source plus noise; a negative gain passes nothing.
    """
    variance, covariance = local.variances[source], local.covariances[source]
    seen = (variance >= FLAT) & (local.fused_variance >= FLAT)
    gain = seen * np.maximum(covariance, 0) / (variance + FLAT)
    noise = np.maximum(local.fused_variance - gain * covariance, FLAT)
    through = np.log1p(gain * gain * variance / (noise + VISUAL_NOISE)).sum()
    whole = np.log1p(variance / VISUAL_NOISE).sum()
    return float(through), float(whole)
