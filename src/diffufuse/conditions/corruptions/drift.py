"""Drift of the gain."""

from collections.abc import Mapping

import numpy as np

from diffufuse.types import Image, Mask, Spacing


def drift(
    image: Image,
    inside: Mask,
    *,
    settings: Mapping[str, float],
    spacing_mm: Spacing,
    generator: np.random.Generator,
) -> Image:
    """Multiply an image by a gain that increases linearly from the first slice to the last, inside the body.

    Detector warm-up and axial sensitivity changes make one tissue darker at one end of a scan. The gain is linear in z,
    from 1 - amplitude to 1 + amplitude. It is applied before normalization: unlike a constant gain, it is not removed
    by a z-score. On CT it scales HU, that is the contrast to water. The position of a single slice is unknown, so its
    gain is drawn from the same range.

    Args:
        image: (X, Y, Z) in physical units.
        inside: (X, Y, Z) body and field of view; other voxels are unchanged.
        settings: `amplitude`, largest deviation of the gain from 1, 0 <= amplitude < 1.
        spacing_mm: not used; the drift scales with the image.
        generator: random number generator; used for a single slice only.

    Returns:
        The image with drift, float32; equal to `image` for amplitude 0 or where nothing is inside.
    """
    slices = image.shape[2]
    position = np.linspace(-1, 1, slices) if slices > 1 else generator.uniform(-1, 1, size=1)
    gain = (1 + settings["amplitude"] * position).astype(np.float32)
    return np.where(inside, image * gain, image)
