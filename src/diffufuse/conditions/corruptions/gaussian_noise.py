"""Additive Gaussian noise."""

from collections.abc import Mapping

import numpy as np

from diffufuse.types import Image, Mask, Spacing


def gaussian_noise(
    image: Image,
    inside: Mask,
    *,
    settings: Mapping[str, float],
    spacing_mm: Spacing,
    generator: np.random.Generator,
) -> Image:
    """Add white Gaussian noise inside the body.

    Thermal noise of the receiver and quantum noise at high counts are approximately normal and independent between
    voxels. The noise level is relative to the image's standard deviation, so that it is comparable between modalities:
    image + sigma * SD(image inside) * N(0, 1), inside the body, before normalization.

    Args:
        image: (X, Y, Z) in physical units.
        inside: (X, Y, Z) body and field of view; other voxels are unchanged.
        settings: `noise_sd`, sigma in units of the image's standard deviation inside the body, >= 0.
        spacing_mm: not used; the noise is independent of the voxel size.
        generator: random number generator.

    Returns:
        The noisy image, float32; equal to `image` for sigma 0 or where nothing is inside.
    """
    noisy = image.copy()
    if inside.any():
        values = image[inside]
        noise = generator.standard_normal(values.size, dtype=np.float32)
        noisy[inside] = values + np.float32(settings["noise_sd"] * values.std(dtype=np.float64)) * noise
    return noisy
