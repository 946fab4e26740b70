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
    """Let the gain rise from the first slice to the last inside the body.

    Detectors warm up and sensitivity changes along a scanner's axis, so that one tissue is darker at one end of a scan
    than at the other. The gain is linear in z, from 1 - amplitude to 1 + amplitude. It acts before normalization: a
    gain that is the same everywhere would vanish in a z-score, this one does not. On CT it acts on HU, that is on the
    contrast against water. Of a single slice nobody knows where in the scan it lies, so its gain is drawn from the
    same range.

    Args:
        image: (X, Y, Z) in physical units.
        inside: (X, Y, Z) body and field of view; voxels elsewhere stay as they are.
        settings: `amplitude`, largest departure of the gain from 1, 0 <= amplitude < 1.
        spacing_mm: not read: the ends of the image have the same gain, however long it is.
        generator: the only source of randomness; used for a single slice alone.

    Returns:
        The image with drift, float32; equal to `image` for amplitude 0 or where nothing is inside.
    """
    slices = image.shape[2]
    place = np.linspace(-1, 1, slices) if slices > 1 else generator.uniform(-1, 1, size=1)
    gain = (1 + settings["amplitude"] * place).astype(np.float32)
    return np.where(inside, image * gain, image)
