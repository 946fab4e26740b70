"""Poisson noise."""

from collections.abc import Mapping

import numpy as np

from diffufuse.types import Image, Mask, Spacing


def poisson_noise(
    image: Image,
    inside: Mask,
    *,
    settings: Mapping[str, float],
    spacing_mm: Spacing,
    generator: np.random.Generator,
) -> Image:
    """Add Poisson noise inside the body, as with a lower dose or a shorter scan.

    The variance of a count is its mean, so the variance of an SUV image is proportional to SUV: hot lesions get the
    most noise, cold tissue little. Each voxel becomes Poisson(k * value) / k. The counts per
    SUV, k = mean(image inside) / (sigma * SD(image inside))^2, make the root mean square of the noise inside the body
    equal to that of Gaussian noise of the same sigma. Real noise is also correlated between neighbors by reconstruction
    and filtering; here voxels are independent.

    Args:
        image: (X, Y, Z), SUV. Voxels below 0 are unchanged.
        inside: (X, Y, Z) body and field of view; other voxels are unchanged.
        settings: `noise_sd`, sigma in units of the image's standard deviation inside the body, >= 0.
        spacing_mm: not used; the noise is independent of the voxel size.
        generator: random number generator.

    Returns:
        The noisy image, float32; equal to `image` for sigma 0, or where nothing, nothing above 0 or nothing but one
        value is inside.
    """
    noisy = image.copy()
    if not inside.any():
        return noisy
    values = image[inside].astype(np.float64)
    rate, variance = np.maximum(values, 0), (settings["noise_sd"] * values.std()) ** 2
    if variance > 0 and rate.any():
        counts_per_suv = rate.mean() / variance
        noisy[inside] = values - rate + generator.poisson(counts_per_suv * rate) / counts_per_suv
    return noisy
