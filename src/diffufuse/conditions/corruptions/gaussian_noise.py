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
    """Add white noise inside the body.

    Thermal noise of the receiver and quantum noise at high counts are close to normal and independent from voxel to
    voxel. Its strength is told relative to the contrast that the image has, so that one number means the same for
    every modality: image + sigma * SD(image inside) * N(0, 1), inside the body, before normalization.

    Args:
        image: (X, Y, Z) in physical units.
        inside: (X, Y, Z) body and field of view; voxels elsewhere stay as they are.
        settings: `noise_sd`, sigma in units of the image's standard deviation inside the body, >= 0.
        spacing_mm: not read: the noise is that of a voxel, however large.
        generator: the only source of randomness.

    Returns:
        The noisy image, float32; equal to `image` for sigma 0 or where nothing is inside.
    """
    noisy = image.copy()
    if inside.any():
        values = image[inside]
        noise = generator.standard_normal(values.size, dtype=np.float32)
        noisy[inside] = values + np.float32(settings["noise_sd"] * values.std(dtype=np.float64)) * noise
    return noisy
