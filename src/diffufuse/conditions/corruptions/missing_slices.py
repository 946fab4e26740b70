"""Missing slices."""

from collections.abc import Mapping

import numpy as np

from diffufuse.types import Mask, Spacing


def missing_slices(
    inside: Mask,
    *,
    settings: Mapping[str, float],
    spacing_mm: Spacing,
    generator: np.random.Generator,
) -> Mask:
    """Remove random axial slices of an image.

    Files are lost in transfer, and slices with sudden motion are left out of an export. A missing slice is marked as
    absent in the presence mask. The slices are those of the prepared grid, all with equal probability.

    Args:
        inside: (X, Y, Z) body and field of view.
        settings: `share`, fraction of the slices with voxels inside that is removed, 0..1, rounded to whole slices.
        spacing_mm: not used.
        generator: random number generator.

    Returns:
        (X, Y, Z) boolean, False in removed slices and True elsewhere; all True for a share of 0 or where nothing is
        inside.
    """
    remaining = np.ones(inside.shape, bool)
    slices = np.flatnonzero(inside.any(axis=(0, 1)))
    remaining[..., generator.permutation(slices)[: round(settings["share"] * slices.size)]] = False
    return remaining
