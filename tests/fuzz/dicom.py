"""Damaged DICOM images: one file of a CT, a PET or an MR, read as a case of a dataset is.

The pixels of the damaged slice are unprotected, and so is the slope of a PET slice, which differs from slice to slice.
"""

import tempfile
from collections.abc import Mapping
from datetime import datetime
from functools import cache, partial
from pathlib import Path

import numpy as np

from diffufuse.ingest.formats import dicom
from diffufuse.phantom.dicom_headers import Injection, Person, SeriesHeader, uid_of
from diffufuse.phantom.dicom_writing import write_ct, write_mr, write_pet
from diffufuse.space.volumes import Volume
from fuzz import Target

SHAPE, SPACING_MM = (6, 5, 5), (-2.0, -2.0, 3.0)
HALF_LIFE_S = 6588.0
DAY = datetime(2001, 2, 3)
BLOCK = {
    "reference": "ct",
    "modalities": {
        name: {"kind": name, "series": [{"Modality": f"^{code}$", "SeriesDescription": name}]}
        for name, code in (("ct", "CT"), ("pet", "PT"), ("mr", "MR"))
    },
}


def _header(name: str, number: int) -> SeriesHeader:
    person = Person("PH-1", "Phantom^1", datetime(1950, 2, 3), "F", 70.0, 1.7)
    uids = (uid_of("study"), uid_of("series", name), uid_of("frame"))
    return SeriesHeader(person, *uids, number, name, DAY.replace(hour=11), DAY.replace(hour=11))


def _image(low: float, high: float) -> Volume:
    values = np.linspace(low, high, np.prod(SHAPE)).reshape(SHAPE).astype(np.float32)
    return Volume(values, np.diag([*SPACING_MM, 1.0]))


@cache
def _files(modality: str) -> dict[str, bytes]:
    """Name to content of the files of a series."""
    kind = {"repetition_ms": 550, "echo_ms": 12, "fat_saturated": False, "thickness_mm": 3.0}
    injection = Injection(350e6, DAY.replace(hour=10), HALF_LIFE_S, 0.97)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        match modality:
            case "ct":
                write_ct(_image(-900, 1500), folder, _header("ct", 1))
            case "pet":
                write_pet(_image(100, 9000), folder, _header("pet", 2), injection)
            case _:
                write_mr(_image(0, 4000), folder, _header("mr", 3), **kind)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def _make(folder: Path, *, modality: str) -> None:
    (folder / "C-1").mkdir()
    for name, content in _files(modality).items():
        (folder / "C-1" / name).write_bytes(content)


def _read(folder: Path, *, modality: str, slice_index: int) -> Mapping[str, object]:
    case = dicom.open_case(folder, "C-1", {**BLOCK, "reference": modality})
    volume, facts = case.read_image(modality)
    damaged = volume.array[..., slice_index] if volume.shape[2] > slice_index else volume.array
    return {
        "affine": volume.affine,
        "other slices": np.delete(volume.array, slice_index, axis=2) if damaged is not volume.array else volume.array,
        "damaged slice": damaged,
        "facts": facts,
        "choice": case.choice,
    }


def _target(name: str, modality: str, slice_index: int) -> Target:
    return Target(
        name,
        partial(_make, modality=modality),
        f"C-1/{slice_index + 1:03d}.dcm",
        partial(_read, modality=modality, slice_index=slice_index),
        unprotected=("damaged slice",),
    )


TARGETS = [
    _target("dicom: a CT slice", "ct", 2),
    _target("dicom: the first CT slice", "ct", 0),
    _target("dicom: a PET slice", "pet", 2),
    _target("dicom: the last MR slice", "mr", 4),
]
