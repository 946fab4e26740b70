"""Ghosting in MR."""

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
    """Add ghosts along y to an MR image, inside the body.

    Periodic motion (breathing, pulse) during the acquisition weakens every n-th line of k-space. This superimposes n
    faint copies of the body, field of view / n apart and with wrap-around, along the phase-encoding axis y, as usual
    for axial slices. The central line is unchanged, to preserve the contrast. The corruption is deterministic.

    Args:
        image: (X, Y, Z) MR intensity, a whole volume.
        inside: (X, Y, Z) body and field of view; other voxels are unchanged.
        settings: `ghosts`, n >= 2; `intensity`, fraction by which every n-th line is attenuated, >= 0: 1 removes it. A
            ghost has intensity / n of the image's brightness.
        spacing_mm: not used; the distance of ghosts is a fraction of the image's width.
        generator: not used.

    Returns:
        The image with its ghosts, float32, >= 0; equal to `image` for intensity 0 or where nothing is inside.

    Source:
        TorchIO's `Ghosting`.
    """
    if not inside.any() or not settings["intensity"]:
        return image.copy()
    import torch  # imported here, as torch and torchio load slowly
    import torchio

    subject = torchio.Subject(image=torchio.ScalarImage(tensor=torch.from_numpy(image[None].copy())))
    transform = torchio.transforms.Ghosting(int(settings["ghosts"]), 1, settings["intensity"], None)
    return np.where(inside, np.abs(transform(subject).get_first_image().data.numpy()[0]), image)
