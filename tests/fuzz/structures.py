"""Structure sets and segmentations, read as masks with their facts."""

from collections.abc import Callable, Mapping
from pathlib import Path

from faults.structures import INNER, KEYHOLE, C, Contour, block, read, write_contours, write_segments

from fuzz import Target

MEASURED = ("drawn_ml", "mask_ml", "off_slices", "without_voxel", "left_out", "repeated")
LABELS = ("mass", "edema")


def masks_of(**asked: object) -> Callable[[Path], Mapping[str, object]]:
    """Reads masks and facts of both labels, each by its own name."""

    def reading(folder: Path) -> Mapping[str, object]:
        found = read(folder, **{"optional": (), **asked})
        named: dict[str, object] = {f"{label}_mask": mask for label, mask in found.masks.items()}
        for label, facts in found.facts.items():
            told = facts if isinstance(facts, dict) else {"count": facts}
            named |= {f"{label}_{name}": value for name, value in told.items()}
        return named | {"labels": sorted(found.masks)}

    return reading


def structure_set(folder: Path) -> None:
    rings = [Contour(INNER, slice_index=k) for k in (2, 3, 4)]
    mass = [C, Contour(KEYHOLE.corners, slice_index=4)]
    write_contours(folder, [("GTV_Mass", mass), ("GTV_Edema", rings), ("Skin", [C])])


def segmentation(kind: str) -> Callable[[Path], None]:
    masks = {"GTV_Mass": block(x=slice(2, 7)), "GTV_Edema": block(x=slice(8, 15), z=slice(1, 7))}
    shades = {label: mask * 1.0 for label, mask in masks.items()}
    return lambda folder: write_segments(folder, shades if kind == "FRACTIONAL" else masks, kind=kind) and None


# What follows from coordinates or pixels, which nothing protects.
OF_COORDINATES = tuple(f"{label}_{name}" for label in LABELS for name in ("mask", *MEASURED))
OF_PIXELS = (*OF_COORDINATES, *(f"{label}_frames" for label in LABELS))

TARGETS = [
    Target("structure set", structure_set, "RS/1.dcm", masks_of(), OF_COORDINATES),
    *(
        Target(f"segmentation, {kind.lower()}", segmentation(kind), "RS/1.dcm", masks_of(), OF_PIXELS)
        for kind in ("BINARY", "FRACTIONAL", "LABELMAP")
    ),
]
