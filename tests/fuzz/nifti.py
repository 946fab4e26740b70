"""Damaged NIfTI files of one case, plain and compressed: its image and its labels."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from diffufuse.ingest.formats import nifti
from diffufuse.space.volumes import Volume, same_grid
from fuzz import Target

SHAPE = (6, 5, 4)
AFFINE = np.array([[-2.0, 0, 0, 11], [0, -2, 0, 17], [0, 0, 3, -23], [0, 0, 0, 1]])
PLACE = Volume(np.zeros(SHAPE), np.array([[2.0, 0, 0, 1], [0, 2, 0, 9], [0, 0, 3, -23], [0, 0, 0, 1]]))


def block(ending: str) -> dict[str, object]:
    """The settings of a dataset with a CT and labels in files of this ending."""
    return {
        "reference": "ct",
        "modalities": {"ct": {"kind": "ct", "file": [f"{{case}}_ct{ending}"]}},
        "annotation": {"file": [f"{{case}}_seg{ending}"], "values": {1: "mass", 2: "edema"}},
        "labels": {"mass": 1, "edema": 2},
    }


def target(damaged: str, ending: str) -> Target:
    """A case whose CT or labels are damaged; the other file is whole."""
    return Target(
        name=f"nifti: {damaged}{ending}",
        make=lambda folder: write(folder, ending),
        damaged=f"A_{damaged}{ending}",
        read=lambda folder: read(folder, ending),
        unprotected=() if ending == ".nii.gz" else ({"ct": "values", "seg": "labels"}[damaged],),
    )


def write(folder: Path, ending: str) -> None:
    """Write a CT with slope and intercept and labels, both with qform and sform."""
    generator = np.random.default_rng(8)
    save(folder / f"A_ct{ending}", generator.integers(0, 3000, SHAPE).astype(np.int16), slope=0.5, inter=-1024.0)
    save(folder / f"A_seg{ending}", generator.integers(0, 3, SHAPE).astype(np.uint8))


def save(path: Path, array: np.ndarray, *, slope: float = 1.0, inter: float = 0.0) -> None:
    """Write one file."""
    image = nib.Nifti1Image(array, AFFINE)
    image.set_qform(AFFINE, code=1)
    image.set_sform(AFFINE, code=1)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_slope_inter(slope, inter)
    content = image.to_bytes()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def read(folder: Path, ending: str) -> dict[str, object]:
    """Read the case as ingest does; the place is the same if no voxel moved by 0.01 mm."""
    case = nifti.open_case(folder, "A", block(ending))
    image, _ = case.read_image("ct")
    labels, _ = case.read_labels(image)
    return {
        "values": image.array,
        "labels": labels.array,
        "place": same_grid(image, PLACE),
        "place of labels": same_grid(labels, PLACE),
    }


TARGETS = [target(damaged, ending) for ending in (".nii.gz", ".nii") for damaged in ("ct", "seg")]
