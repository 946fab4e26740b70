"""Fused images for people: a volume as NIfTI, a pair as PNG."""

from pathlib import Path

from diffufuse.pixels.color import recombined
from diffufuse.pixels.orientation import as_picture
from diffufuse.pixels.png import write_picture
from diffufuse.space.volumes import Volume, write_probability
from diffufuse.store.case import PreparedCase
from diffufuse.store.fused import gray_levels


def write_fused_volume(fused: PreparedCase, folder: Path) -> None:
    """Write `{case}_fused.nii.gz`: gray levels in 0..1, in steps of 1/65535."""
    write_probability(Volume(gray_levels(fused), fused.affine), folder / f"{fused.name}_fused.nii.gz")


def write_fused_pair(fused: PreparedCase, pair: PreparedCase, folder: Path, *, colored_by: str | None) -> None:
    """Write `{case}_fused.png`: the fused image as luma, with the chroma of the function's picture put back.

    Args:
        fused: the fused image, of one slice.
        pair: the pair that was fused; a picture with colors has its chroma in `{modality}_cb` and `{modality}_cr`.
        folder: of the predictions.
        colored_by: the modality whose chroma is put back; None for a gray picture, as is one of gray sources.
    """
    picture = as_picture(fused.slices.images(0)[0])
    names = [f"{colored_by}_cb", f"{colored_by}_cr"]
    if set(names) <= set(pair.slices.stored):
        picture = recombined(picture, *map(as_picture, pair.slices.selected(names).images(0)))
    write_picture(picture, folder / f"{fused.name}_fused.png")
