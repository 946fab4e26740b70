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
    """Lose single axial slices of an image.

    Files are lost on their way from the scanner, and slices spoiled by a sudden movement are left out of an export. A
    slice that is not there was never acquired as far as a model can know: it is absent, by the mask of presence, and
    not an image of zeros. The slices are those of the grid on which a case is prepared, each as likely to go.

    Args:
        inside: (X, Y, Z) body and field of view.
        settings: `share` of the slices with something inside that are lost, 0..1, rounded to a whole number of slices.
        spacing_mm: not read: slices are counted.
        generator: the only source of randomness.

    Returns:
        (X, Y, Z) boolean, False throughout a lost slice and True elsewhere; True throughout for a share of 0 or where
        nothing is inside.
    """
    kept = np.ones(inside.shape, bool)
    levels = np.flatnonzero(inside.any(axis=(0, 1)))
    kept[..., generator.permutation(levels)[: round(settings["share"] * levels.size)]] = False
    return kept
