"""Downsampling to thick slices."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from diffufuse.types import Image, Mask, Spacing


def downsampling(
    image: Image,
    inside: Mask,
    *,
    settings: Mapping[str, float],
    spacing_mm: Spacing,
    generator: np.random.Generator,
) -> Image:
    """Downsample an image to thick axial slices and resample it to its grid, inside the body.

    Many clinical scans have a fine in-plane and a coarse through-plane resolution. A thick slice is the mean over its
    thickness, so that small structures fade and oblique edges become steps (partial volume). Slices are contiguous
    along z with a random offset; values are interpolated linearly between slice centers. Voxels outside the body or
    field of view do not contribute. The in-plane resolution is unchanged.

    Args:
        image: (X, Y, Z) in physical units.
        inside: (X, Y, Z) body and field of view; other voxels are unchanged.
        settings: `slice_mm`, thickness of a slice, >= 0.
        spacing_mm: voxel size; only that along z is read.
        generator: random number generator.

    Returns:
        The coarse image, float32; equal to `image` where slices are no thicker than the grid's, nothing is inside, or
        there is a single slice.

    Source:
        TorchIO's `RandomAnisotropy`, which takes single slices instead of means.
    """
    thickness = settings["slice_mm"] / spacing_mm[2]
    offset = generator.uniform(0, 1)
    coarse = image.copy()
    if thickness > 1 and image.shape[2] > 1 and inside.any():
        means, interpolation = _thick_slices(image.shape[2], thickness, offset)
        covered = inside @ means.T
        values = (np.where(inside, image, 0) @ means.T) / np.maximum(covered, np.finfo(np.float32).tiny)
        weight = (covered > 0).astype(np.float32) @ interpolation.T
        coarse[inside] = ((values * (covered > 0)) @ interpolation.T)[inside] / weight[inside]
    return coarse


def _thick_slices(
    slices: int, thickness: float, offset: float
) -> tuple[Float[np.ndarray, "thick z"], Float[np.ndarray, "z thick"]]:
    """Return the weights of averaging to thick slices, and of interpolating back.

    Args:
        slices: number of slices of the grid.
        thickness: thickness in slices of the grid, > 1.
        offset: fraction of the first thick slice that lies before the grid, 0..1.
    """
    edges = thickness * (np.arange(int(slices / thickness) + 3) - offset)
    edges = edges[: np.searchsorted(edges, slices) + 1]
    bottom = np.arange(slices)
    overlap = np.minimum(edges[1:, None], bottom + 1) - np.maximum(edges[:-1, None], bottom)
    distance = np.abs(bottom[:, None] + 0.5 - (edges[1:] + edges[:-1]) / 2) / thickness
    interpolation = np.maximum(1 - distance, 0)
    # A slice before the first center or after the last has a single neighbor, and takes its value.
    interpolation /= interpolation.sum(axis=1, keepdims=True)
    return np.maximum(overlap, 0).astype(np.float32), interpolation.astype(np.float32)
