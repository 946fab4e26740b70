"""Motion blur."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from diffufuse.types import Image, Mask, Spacing

NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)


def motion_blur(
    image: Image,
    inside: Mask,
    *,
    settings: Mapping[str, float],
    spacing_mm: Spacing,
    generator: np.random.Generator,
) -> Image:
    """Blur an image along a straight line in the axial plane, inside the body.

    Uniform motion during the acquisition turns each point into a line, with a given length and one random angle per
    image; its variance is length^2 / 12 along the line and 0 across. Voxels outside the body or field of view do not
    contribute: a voxel is the mean over the line inside the body. Total intensity is preserved away from the border.

    Args:
        image: (X, Y, Z) in physical units.
        inside: (X, Y, Z) body and field of view; other voxels are unchanged.
        settings: `length_mm`, length of the motion, >= 0; need not be a whole number of voxels.
        spacing_mm: voxel size; the angle is in physical space.
        generator: random number generator.

    Returns:
        The blurred image, float32; equal to `image` for length 0 or where nothing is inside. Near an edge it may
        undershoot by a few percent of the edge, due to cubic interpolation.
    """
    from scipy.signal import fftconvolve  # imported here, as it loads slowly

    angle = generator.uniform(0, np.pi)
    blurred = image.copy()
    if inside.any() and settings["length_mm"] > 0:
        line = _line(settings["length_mm"], angle, spacing_mm)
        both = np.stack([np.where(inside, image, 0), inside]).astype(np.float32)
        kernel = line[None, :, :, None].astype(np.float32)
        total, weight = fftconvolve(both, kernel, mode="same", axes=(1, 2))[:, inside]
        # Some of the line's weights are below 0, so that a mask of single voxels could lose all of its weight.
        blurred[inside] = total / np.maximum(weight, line.max() / 2)
    return blurred


def _line(length_mm: float, angle: float, spacing_mm: Spacing) -> Float[np.ndarray, "x y"]:
    """Return the blur kernel: weights of sum 1 with the second moments of the line."""
    half_mm = length_mm / 2 * np.array([np.cos(angle), np.sin(angle)])
    x, y = (_cubic_weights(NODES * half / mm) for half, mm in zip(half_mm, spacing_mm[:2], strict=True))
    return np.einsum("n,nx,ny->xy", WEIGHTS / 2, x, y)


def _cubic_weights(positions: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n voxel"]:
    """Return cubic convolution weights of positions between voxels, exact for parabolas (Keys 1981)."""
    reach = int(np.abs(positions).max()) + 2
    distance = np.abs(np.arange(-reach, reach + 1) - positions[:, None])
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return np.select([distance < 1, distance < 2], [near, far], 0.0)
