"""Ghosts in an MR image."""

from collections.abc import Mapping

import numpy as np

from diffufuse.types import Image, Mask, Spacing


def ghosting(
    image: Image,
    inside: Mask,
    *,
    settings: Mapping[str, float],
    spacing_mm: Spacing,
    generator: np.random.Generator,
) -> Image:
    """Repeat an MR image over itself along y, inside the body.

    Breath and pulse come back regularly while line after line of k-space is acquired, so that every n-th line is weaker
    than the others. A comb of n lines in k-space is a comb of n places in the image: faint copies of the body lie over
    it, a field of view / n apart, and what leaves the image on one side enters on the other. The copies follow each
    other along y, as the lines of axial slices usually do. The middle line stays as it is, for without it nothing would
    be left of the contrast. Nothing is drawn.

    Args:
        image: (X, Y, Z) MR intensity, a whole volume.
        inside: (X, Y, Z) body and field of view; voxels elsewhere stay as they are.
        settings: `ghosts`, n >= 2; `intensity`, by what share every n-th line is weaker, >= 0: 1 takes it out. A ghost
            has intensity / n of the image's brightness.
        spacing_mm: not read: the distance of ghosts is a share of the image's width.
        generator: not read: nothing is drawn.

    Returns:
        The image with its ghosts, float32, >= 0; equal to `image` for intensity 0 or where nothing is inside.

    Source:
        TorchIO's `Ghosting`.
    """
    if not inside.any() or not settings["intensity"]:
        return image.copy()
    import torch  # like torchio, it loads for seconds, which other conditions need not wait for
    import torchio

    still = torchio.Subject(image=torchio.ScalarImage(tensor=torch.from_numpy(image[None].copy())))
    ghosts = torchio.transforms.Ghosting(int(settings["ghosts"]), 1, settings["intensity"], None)
    return np.where(inside, np.abs(ghosts(still).get_first_image().data.numpy()[0]), image)
