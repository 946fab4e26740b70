"""A gain that is the same everywhere."""

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
    """Multiply an image by one number inside the body.

    Another scanner, coil or calibration shows the same body brighter or darker as a whole. A z-score takes such a gain
    out again exactly, so that it says nothing of a model unless it acts later: conditions with this corruption say
    `after: normalization`, and stretch what the network reads away from its zero, the mean of the patient or of the
    cohort. That is a shift of contrast which no normalization had the chance to mend.

    Args:
        image: (X, Y, Z), normalized.
        inside: (X, Y, Z) body and field of view; voxels elsewhere stay as they are.
        settings: `change`, the gain's departure from 1, > -1; 0.2 is a fifth more.
        spacing_mm: not read: the gain is the same everywhere.
        generator: not read: nothing is drawn.

    Returns:
        The image with the gain, float32; equal to `image` for a change of 0 or where nothing is inside.
    """
    return np.where(inside, image * np.float32(1 + settings["change"]), image)
