"""Structure sets and segmentations, read as masks with their facts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from faults.structures import (
    FRAME,
    INNER,
    KEYHOLE,
    PATTERNS,
    C,
    Contour,
    block,
    read_on,
    write_contours,
    write_segments,
)

from diffufuse.dicom.image_planes import ImagePlanes, image_planes
from diffufuse.dicom.series import find_series, read_series
from diffufuse.space.volumes import Volume
from fuzz import Target

LABELS = ("mass", "edema")
# What follows from coordinates or pixels, which nothing protects; a contour may also cease to name its image, which is
# counted.
MEASURED = ("mask", "drawn_ml", "mask_ml", "off_slices", "without_voxel", "left_out")
OF_COORDINATES = tuple(f"{label}_{name}" for label in LABELS for name in (*MEASURED, "repeated", "unreferenced"))
OF_PIXELS = tuple(f"{label}_{name}" for label in LABELS for name in (*MEASURED, "frames"))


@dataclass(frozen=True)
class Whole:
    """A structure set or segmentation, and its image, which stays whole and is read once."""

    content: bytes
    grid: Volume
    images: ImagePlanes


@cache
def whole(write: Callable[[Path], None]) -> Whole:
    with TemporaryDirectory() as name:
        write(Path(name))
        (image,) = find_series(Path(name) / "MR")
        return Whole((Path(name) / "RS/1.dcm").read_bytes(), read_series(image), image_planes(image))


def target(name: str, write: Callable[[Path], None], unprotected: tuple[str, ...], **asked: object) -> Target:
    """A target that reads both labels: masks and facts, each by its own name."""

    def make(folder: Path) -> None:
        (folder / "RS").mkdir()
        (folder / "RS/1.dcm").write_bytes(whole(write).content)

    def reading(folder: Path) -> Mapping[str, object]:
        image = whole(write)
        found = read_on(folder, image.grid, PATTERNS, frame_of_reference=FRAME, images=image.images, **asked)
        named: dict[str, object] = {f"{label}_mask": mask for label, mask in found.masks.items()}
        for label, facts in found.facts.items():
            named |= {f"{label}_{name}": value for name, value in facts.items()} if label in LABELS else {label: facts}
        return named | {"labels": sorted(found.masks)}

    return Target(name, make, "RS/1.dcm", reading, unprotected)


def structure_set(folder: Path) -> None:
    rings = [Contour(INNER, slice_index=k) for k in (2, 3, 4)]
    mass = [C, Contour(KEYHOLE.corners, slice_index=4)]
    write_contours(folder, [("GTV_Mass", mass), ("GTV_Edema", rings), ("Skin", [C])])


def segmentation(folder: Path, kind: str) -> None:
    masks = {"GTV_Mass": block(x=slice(2, 7)), "GTV_Edema": block(x=slice(8, 15), z=slice(1, 7))}
    shades = {label: mask * 1.0 for label, mask in masks.items()}
    write_segments(folder, shades if kind == "FRACTIONAL" else masks, kind=kind)


TARGETS = [
    target("structure set", structure_set, OF_COORDINATES),
    *(
        target(f"segmentation, {kind.lower()}", partial(segmentation, kind=kind), OF_PIXELS)
        for kind in ("BINARY", "FRACTIONAL", "LABELMAP")
    ),
]
