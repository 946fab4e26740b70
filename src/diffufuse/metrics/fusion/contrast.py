"""Contrast and activity of a fused image alone, in gray levels of 0..255; none of them knows the sources."""

import math

import numpy as np

from diffufuse.metrics.fusion.images import Fusion


def sd(images: Fusion) -> float:
    """Standard deviation of the gray levels: the square root of their mean squared distance from the mean.

    Returns:
        0..127.5 gray levels.

    Source:
        Rao 1997, doi:10.1088/0957-0233/8/4/002.
    """
    return float(images.levels[2].std())


def sf(images: Fusion) -> float:
    """Spatial frequency: the root of the two mean squared differences of neighbors, along rows and columns, added.

    Returns:
        0..255 √2 gray levels. The mean is over the differences that exist; VIFB divides by the number of pixels, which
        is less by half of 1/side.

    Source:
        Eskicioglu and Fisher 1995, doi:10.1109/26.477498.
    """
    fused = images.levels[2]
    return math.sqrt(sum(float(np.mean(np.diff(fused, axis=axis) ** 2)) for axis in (0, 1)))


def ag(images: Fusion) -> float:
    """Average gradient: the mean of sqrt((gx² + gy²) / 2), by central differences, one-sided at the border.

    Returns:
        0..255 gray levels per pixel. VIFB divides by the pixels without the last row and column, which is 0.8 % more
        of a side of 256.

    Source:
        Cui et al. 2015, doi:10.1016/j.optcom.2014.12.032.
    """
    gx, gy = np.gradient(images.levels[2])
    return float(np.sqrt((gx**2 + gy**2) / 2).mean())
