"""Damaged pictures: PNG, whose checksums protect every value, and JPEG and BMP, which have none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from diffufuse.pixels.image_file import read_picture
from fuzz import Target

GRAY = (np.add.outer(np.arange(24), 3 * np.arange(20)) * 3).astype(np.uint8)
COLOR = np.stack([GRAY, 255 - GRAY, GRAY // 2], axis=-1)
DEEP = COLOR.astype(np.uint16) * 257 + 5


def saved(array: np.ndarray, mode: str | None = None) -> Callable[[Path], None]:
    image = Image.fromarray(array)
    return lambda path: (image.convert(mode) if mode else image).save(path)


def deep_color(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(DEEP, isVector=True), str(path))


def target(what: str, ending: str, write: Callable[[Path], None]) -> Target:
    """One picture; the file of a PNG alone protects its values."""
    name = f"picture.{ending}"
    return Target(
        name=f"picture: {what}.{ending}",
        make=lambda folder: write(folder / name),
        damaged=name,
        read=lambda folder: {"values": read_picture(folder / name)},
        unprotected=() if ending == "png" else ("values",),
    )


TARGETS = [
    target("gray", "png", saved(GRAY)),
    target("16-bit gray", "png", saved(GRAY.astype(np.uint16) * 257 + 5)),
    target("color", "png", saved(COLOR)),
    target("palette", "png", saved(COLOR, "P")),
    target("one bit", "png", saved(GRAY, "1")),
    target("16-bit color", "png", deep_color),
    target("gray", "jpg", saved(GRAY)),
    target("color", "jpg", saved(COLOR)),
    target("gray", "bmp", saved(GRAY)),
    target("color", "bmp", saved(COLOR)),
]
