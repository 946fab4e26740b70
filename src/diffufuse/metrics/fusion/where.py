"""Where a slice can be scored: a place at which one of the sources was not acquired has nothing to compare with."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from diffufuse.metrics.fusion.windows import Plane


def where_both(images: Sequence[Plane], both: Bool[np.ndarray, "x y"]) -> list[Plane]:
    """The same images in the smallest rectangle that holds every pixel of both sources, black where one is missing.

    Metrics read whole rectangles. Black in all images alike is no difference, and its border is an edge that all have.

    Args:
        images: of one slice.
        both: where both sources were acquired, at least in one pixel.
    """
    within = tuple(slice(places.min(), places.max() + 1) for places in np.nonzero(both))
    return [np.where(both, image, 0)[within] for image in images]
