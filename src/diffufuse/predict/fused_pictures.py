"""Fused images for people: a volume as NIfTI, a pair as PNG."""

from pathlib import Path

import numpy as np
from matplotlib.image import imsave

from diffufuse.files.atomic import atomic_path
from diffufuse.space.volumes import Volume, write_probability
from diffufuse.store.case import PreparedCase

PICTURE = "picture"


def write_fused_picture(fused: PreparedCase, folder: Path, *, of_pair: bool) -> None:
    """Write `{case}_fused.nii.gz`, gray levels in 0..1 in steps of 1/65535, or `{case}_fused.png` of a pair.

    Args:
        fused: from `write_fused`.
        folder: of the predictions.
        of_pair: whether the case is a pair of pictures.
    """
    image = fused.scan.images[0]
    if not of_pair:
        write_probability(Volume(image, fused.affine), folder / f"{fused.name}_fused.nii.gz")
        return
    with atomic_path(folder / f"{fused.name}_fused.png") as partial:
        imsave(partial, np.rint(255 * image[..., 0].T[::-1, ::-1]), cmap="gray", vmin=0, vmax=255, format="png")
