"""Thick slices."""

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
    """Acquire an image in thick axial slices and bring it back onto its grid, inside the body.

    Many clinical scans are fine in the plane and coarse across it. A thick slice shows the mean of what it holds, so
    that small things fade and slanted edges become steps. Slices follow each other without a gap along z, the first
    begins at a place drawn once; between their middles, values are interpolated linearly, as resampling does. What lies
    outside the body, or was never acquired, does not flow in. The other axes are left alone: a scan that is coarse in
    the plane too would be sent back.

    Args:
        image: (X, Y, Z) in physical units.
        inside: (X, Y, Z) body and field of view; voxels elsewhere stay as they are.
        settings: `slice_mm`, thickness of a slice, >= 0.
        spacing_mm: voxel size; only that along z is read.
        generator: the only source of randomness.

    Returns:
        The coarse image, float32; equal to `image` where slices are no thicker than the grid's, nothing is inside, or
        there is a single slice.

    Source:
        TorchIO's `RandomAnisotropy`, which takes single slices instead of means.
    """
    thickness = settings["slice_mm"] / spacing_mm[2]
    begin = generator.uniform(0, 1)
    coarse = image.copy()
    if thickness > 1 and image.shape[2] > 1 and inside.any():
        means, between = _thick_slices(image.shape[2], thickness, begin)
        held = inside @ means.T
        values = (np.where(inside, image, 0) @ means.T) / np.maximum(held, np.finfo(np.float32).tiny)
        weight = (held > 0).astype(np.float32) @ between.T
        coarse[inside] = ((values * (held > 0)) @ between.T)[inside] / weight[inside]
    return coarse


def _thick_slices(
    slices: int, thickness: float, begin: float
) -> tuple[Float[np.ndarray, "thick z"], Float[np.ndarray, "z thick"]]:
    """How much of each slice a thick one holds, and how each slice is put together from thick ones.

    Args:
        slices: of the grid.
        thickness: of a thick slice, in slices of the grid, > 1.
        begin: share of the first thick slice that lies before the grid, 0..1.
    """
    edges = thickness * (np.arange(int(slices / thickness) + 3) - begin)
    edges = edges[: np.searchsorted(edges, slices) + 1]
    bottom = np.arange(slices)
    shared = np.minimum(edges[1:, None], bottom + 1) - np.maximum(edges[:-1, None], bottom)
    distance = np.abs(bottom[:, None] + 0.5 - (edges[1:] + edges[:-1]) / 2) / thickness
    between = np.maximum(1 - distance, 0)
    # A slice before the first middle or after the last has one neighbor alone, and takes its value.
    between /= between.sum(axis=1, keepdims=True)
    return np.maximum(shared, 0).astype(np.float32), between.astype(np.float32)
