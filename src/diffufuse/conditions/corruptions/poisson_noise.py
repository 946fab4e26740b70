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
    """Count fewer decays inside the body, as a lower dose or a shorter scan does.

    Decays are independent, so a count has its mean as its variance, and an image in SUV has a variance proportional to
    SUV: hot lesions get the most noise, cold tissue little. Each voxel becomes Poisson(k * value) / k. The counts per
    SUV, k = mean(image inside) / (sigma * SD(image inside))^2, make the root mean square of the noise inside the body
    that of Gaussian noise of the same sigma, so that the two differ in their form and not in their strength. Real
    noise is also correlated between neighbors, by reconstruction and filtering; here voxels are independent.

    Args:
        image: (X, Y, Z), SUV. A voxel below 0 can hold no counts and stays as it is.
        inside: (X, Y, Z) body and field of view; voxels elsewhere stay as they are.
        settings: `noise_sd`, sigma in units of the image's standard deviation inside the body, >= 0.
        spacing_mm: not read: the noise is that of a voxel, however large.
        generator: the only source of randomness.

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
