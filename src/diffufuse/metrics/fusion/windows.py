"""Means, variances and covariances in windows that lie wholly inside an image."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy import ndimage

Plane: TypeAlias = Float[np.ndarray, "x y"]


class Moments(NamedTuple):
    """Local moments of two sources and of the image fused of them.

    Attributes:
        means: of a source, once for each of the two.
        variances: likewise.
        covariances: of a source with the fused image.
        fused_mean: of the fused image.
        fused_variance: likewise.
    """

    means: tuple[Plane, Plane]
    variances: tuple[Plane, Plane]
    covariances: tuple[Plane, Plane]
    fused_mean: Plane
    fused_variance: Plane


def gaussian_window(side: int, sigma: float) -> Float[np.ndarray, " side"]:
    """One axis of a separable Gaussian window with the sum 1."""
    offset = np.arange(side) - (side - 1) / 2
    weight = np.exp(-(offset**2) / (2 * sigma**2))
    return weight / weight.sum()


def weighted(image: Plane, window: Float[np.ndarray, " side"]) -> Plane:
    """The weighted mean in every window that lies wholly inside: (X - side + 1, Y - side + 1)."""
    margin = len(window) // 2
    inner = slice(margin, -margin)
    columns = ndimage.correlate1d(image, window, axis=0)[inner]
    return ndimage.correlate1d(columns, window, axis=1)[:, inner]


def uniform(image: Plane, side: int) -> Plane:
    """The plain mean in every square window that lies wholly inside."""
    inner = slice(side // 2, -(side // 2))
    return ndimage.uniform_filter(image, side)[inner, inner]


def moments(sources: tuple[Plane, Plane], fused: Plane, average: Callable[[Plane], Plane]) -> Moments:
    """Local moments by some average; a variance that rounding makes negative is 0."""
    a, b = sources
    mean_a, mean_b, fused_mean = average(a), average(b), average(fused)
    return Moments(
        means=(mean_a, mean_b),
        variances=(_variance(a, mean_a, average), _variance(b, mean_b, average)),
        covariances=(average(a * fused) - mean_a * fused_mean, average(b * fused) - mean_b * fused_mean),
        fused_mean=fused_mean,
        fused_variance=_variance(fused, fused_mean, average),
    )


def _variance(image: Plane, mean: Plane, average: Callable[[Plane], Plane]) -> Plane:
    return np.maximum(average(image * image) - mean * mean, 0)
