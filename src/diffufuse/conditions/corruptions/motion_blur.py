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
    """Smear an image along a straight line in the axial plane, inside the body.

    A patient who moves evenly while a slice is acquired is seen at every place on the way: each point becomes a line,
    here of a given length and of an angle drawn once for the whole image, with variance length^2 / 12 along the line
    and 0 across. What lies outside the body, or was never acquired, does not flow in: a voxel is the mean of what the
    line meets inside. Total intensity is kept away from the border.

    Args:
        image: (X, Y, Z) in physical units.
        inside: (X, Y, Z) body and field of view; voxels elsewhere stay as they are.
        settings: `length_mm`, the way that is moved, >= 0; it need not be a whole number of voxels.
        spacing_mm: voxel size; the angle is one of millimeters, not of voxels.
        generator: the only source of randomness.

    Returns:
        The blurred image, float32; equal to `image` for length 0 or where nothing is inside. Beside an edge it may
        undershoot by a few percent of the edge, as cubic interpolation does.
    """
    from scipy.signal import fftconvolve  # loads for a second, which other conditions need not wait for

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
    """What a point becomes: weights of sum 1 around the middle voxel, whose second moments are those of the line."""
    half_mm = length_mm / 2 * np.array([np.cos(angle), np.sin(angle)])
    x, y = (_shares(NODES * half / mm) for half, mm in zip(half_mm, spacing_mm[:2], strict=True))
    return np.einsum("n,nx,ny->xy", WEIGHTS / 2, x, y)


def _shares(places: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n voxel"]:
    """How each place between voxels is shared among them, by cubic convolution, exact for parabolas (Keys 1981)."""
    reach = int(np.abs(places).max()) + 2
    distance = np.abs(np.arange(-reach, reach + 1) - places[:, None])
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return np.select([distance < 1, distance < 2], [near, far], 0.0)
