"""Constant gain."""

from collections.abc import Mapping

import numpy as np

from diffufuse.types import Image, Mask, Spacing


def gain(
    image: Image,
    inside: Mask,
    *,
    settings: Mapping[str, float],
    spacing_mm: Spacing,
    generator: np.random.Generator,
) -> Image:
    """Multiply an image by a constant gain inside the body.

    The gain differs between scanners, coils and calibrations. A z-score removes a constant gain exactly, so conditions
    with this corruption set `after: normalization`: they scale the network's input about its zero, the mean of the
    patient or cohort, which is a change of contrast that normalization cannot correct.

    Args:
        image: (X, Y, Z), normalized.
        inside: (X, Y, Z) body and field of view; other voxels are unchanged.
        settings: `change`, deviation of the gain from 1, > -1.
        spacing_mm: not used.
        generator: not used.

    Returns:
        The image with the gain, float32; equal to `image` for a change of 0 or where nothing is inside.
    """
    return np.where(inside, image * np.float32(1 + settings["change"]), image)
