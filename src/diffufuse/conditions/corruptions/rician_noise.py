"""Rician noise."""

from collections.abc import Mapping

import numpy as np

from diffufuse.types import Image, Mask, Spacing


def rician_noise(
    image: Image,
    inside: Mask,
    *,
    settings: Mapping[str, float],
    spacing_mm: Spacing,
    generator: np.random.Generator,
) -> Image:
    """Add Rician noise, the noise of an MR magnitude image, inside the body.

    The image is the magnitude of two channels with normal noise,
    |image + sigma * SD(image inside) * (N(0, 1) + i N(0, 1))|. The noise is approximately normal in bright tissue;
    without signal its mean is sigma * SD * sqrt(pi / 2), a noise floor that brightens dark regions.

    Args:
        image: (X, Y, Z) MR intensity, >= 0.
        inside: (X, Y, Z) body and field of view; other voxels are unchanged.
        settings: `noise_sd`, sigma of a channel in units of the image's standard deviation inside the body, >= 0.
        spacing_mm: not used; the noise is independent of the voxel size.
        generator: random number generator.

    Returns:
        The noisy image, float32, >= 0; equal to `image` for sigma 0 or where nothing is inside.

    Source:
        Gudbjartsson and Patz 1995, The Rician distribution of noisy MRI data.
    """
    noisy = image.copy()
    if inside.any():
        values = image[inside]
        strength = np.float32(settings["noise_sd"] * values.std(dtype=np.float64))
        real, imaginary = strength * generator.standard_normal((2, values.size), dtype=np.float32)
        noisy[inside] = np.hypot(values + real, imaginary)
    return noisy
