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
    """Multiply an MR image by a smooth field inside the body.

    A surface coil hears what is near better than what is far, and the transmitted field is uneven in a large body, so
    that one tissue is bright on one side and dark on the other. The field is exp(p), p a polynomial of order 3 in x, y
    and z, each from -1 to 1 across the image, with coefficients drawn evenly from -c to c. The constant term is a
    global gain. In a patch the field varies as much as it does across a whole image.

    Args:
        image: (X, Y, Z) MR intensity.
        inside: (X, Y, Z) body and field of view; voxels elsewhere stay as they are.
        settings: `coefficient`, c >= 0; 0.5 is TorchIO's default, 0.3 to 1.5 the range of ROOD-MRI.
        spacing_mm: not read: the field is as wide as the image.
        generator: the only source of randomness.

    Returns:
        The image with its field, float32; equal to `image` for c = 0 or where nothing is inside.

    Source:
        Van Leemput et al. 1999, Automated model-based bias field correction of MR images of the brain; as defined by
        TorchIO's `RandomBiasField`.
    """
    size = ORDER + 1
    drawn = generator.uniform(-1, 1, (size, size, size)) * settings["coefficient"]
    coefficients = np.where(np.indices(drawn.shape).sum(axis=0) <= ORDER, drawn, 0)
    x, y, z = (_powers(n) for n in image.shape)
    exponent = np.einsum("ijz,xi,yj->xyz", coefficients @ z.T, x, y, optimize=True)
    return np.where(inside, image * np.exp(exponent, dtype=np.float32), image)


def _powers(voxels: int) -> np.ndarray:
    """(voxels, ORDER + 1) powers of the place along an axis, from -1 to 1; a single slice lies at 0."""
    place = np.linspace(-1, 1, voxels) if voxels > 1 else np.zeros(1)
    return np.vander(place, ORDER + 1, increasing=True)
