"""Bias field."""

from collections.abc import Mapping

import numpy as np

from diffufuse.types import Image, Mask, Spacing

ORDER = 3


def bias_field(
    image: Image,
    inside: Mask,
    *,
    settings: Mapping[str, float],
    spacing_mm: Spacing,
    generator: np.random.Generator,
) -> Image:
    """Multiply an MR image by a smooth bias field inside the body.

    The sensitivity of a surface coil decreases with distance, and the transmit field is inhomogeneous in a large body.
    The field is exp(p), p a polynomial of order 3 in x, y and z, each from -1 to 1 across the image, with coefficients
    uniformly distributed in [-c, c]. The constant term is a global gain. In a patch the field varies as much as across
    a whole image.

    Args:
        image: (X, Y, Z) MR intensity.
        inside: (X, Y, Z) body and field of view; other voxels are unchanged.
        settings: `coefficient`, c >= 0; 0.5 is TorchIO's default, 0.3 to 1.5 the range of ROOD-MRI.
        spacing_mm: not used; the field scales with the image.
        generator: random number generator.

    Returns:
        The image with its field, float32; equal to `image` for c = 0 or where nothing is inside.

    Source:
        Van Leemput et al. 1999, Automated model-based bias field correction of MR images of the brain; as defined by
        TorchIO's `RandomBiasField`.
    """
    size = ORDER + 1
    random_coefficients = generator.uniform(-1, 1, (size, size, size)) * settings["coefficient"]
    coefficients = np.where(np.indices(random_coefficients.shape).sum(axis=0) <= ORDER, random_coefficients, 0)
    x, y, z = (_powers(n) for n in image.shape)
    exponent = np.einsum("ijz,xi,yj->xyz", coefficients @ z.T, x, y, optimize=True)
    return np.where(inside, image * np.exp(exponent, dtype=np.float32), image)


def _powers(voxels: int) -> np.ndarray:
    """Return powers (voxels, ORDER + 1) of the coordinate along an axis, -1 to 1; a single slice is at 0."""
    coordinate = np.linspace(-1, 1, voxels) if voxels > 1 else np.zeros(1)
    return np.vander(coordinate, ORDER + 1, increasing=True)
