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
    """Add the noise of an MR magnitude image inside the body.

    A scanner measures two channels with normal noise each and shows their magnitude,
    |image + sigma * SD(image inside) * (N(0, 1) + i N(0, 1))|. Bright tissue gets noise that is close to normal; where
    there is no signal the noise cannot average out, and its mean is sigma * SD * sqrt(pi / 2): dark regions turn gray.

    Args:
        image: (X, Y, Z) MR intensity, >= 0.
        inside: (X, Y, Z) body and field of view; voxels elsewhere stay as they are.
        settings: `noise_sd`, sigma of a channel in units of the image's standard deviation inside the body, >= 0.
        spacing_mm: not read: the noise is that of a voxel, however large.
        generator: the only source of randomness.

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
