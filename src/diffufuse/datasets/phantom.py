"""The phantom cohort, read back from the DICOM that its hospital hands over."""

from pathlib import Path
from typing import Any

import numpy as np

from diffufuse.dicom.rtstruct import rasterize, read_contours
from diffufuse.dicom.series import Series, find_series, read_series, sidecar_of
from diffufuse.dicom.suv import to_suv
from diffufuse.errors import BadInput
from diffufuse.volumes import Volume

FOLDERS = {"pet": "PET", "ct": "CT", "t1": "MR_T1", "t2fs": "MR_T2FS"}
ROIS = {"GTV_Edema": 2, "GTV_Mass": 1}  # in painting order: mass lies on edema
DRAWN_ON = "t1"


def find_cases(raw: Path) -> list[str]:
    """Names of the cases in the raw folder, sorted."""
    return sorted(folder.name for folder in raw.iterdir() if folder.is_dir())


def read_image(raw: Path, case: str, modality: str) -> tuple[Volume, dict[str, Any]] | None:
    """An image in HU, SUV or MR intensity; None where the case has no such modality."""
    folder = raw / case / FOLDERS[modality]
    if not folder.exists():
        return None
    series = _only_series(folder)
    return (to_suv(series) if modality == "pet" else read_series(series)), sidecar_of(series)


def read_labels(raw: Path, case: str, reference: Volume) -> Volume:
    """Labels on the reference image's grid: 1 is the tumor mass, 2 the edema around it."""
    structures = _only_series(raw / case / "RTSTRUCT").files[0]
    frame = _only_series(raw / case / FOLDERS[DRAWN_ON]).frame_of_reference
    labels = np.zeros(reference.shape, np.uint8)
    for name, value in ROIS.items():
        contours = read_contours(structures, name)
        labels[rasterize(contours, reference, frame_of_reference=frame)] = value
    return reference.with_array(labels)


def _only_series(folder: Path) -> Series:
    found = find_series(folder)
    if len(found) != 1:
        raise BadInput(f"{folder}: expected one DICOM series, found {len(found)}; keep the one that is meant.")
    return found[0]
