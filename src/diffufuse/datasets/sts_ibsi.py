"""Soft-tissue sarcomas of the extremities, as the IBSI cropped and published them.

Each case is a folder with `CT`, `MR_T1` and `PET` (SUV already), each an `_image` and a `_mask` (GTV_Mass) on its own
grid, cropped 5 cm around the tumor. The labels are the mask on T1: contours were drawn on MR.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from diffufuse.errors import BadInput
from diffufuse.volumes import Volume, read_volume, same_grid

FILES = {"pet": "PET", "ct": "CT", "t1": "MR_T1"}
DRAWN_ON = "MR_T1"


def find_cases(raw: Path) -> list[str]:
    """Names of the cases in the raw folder, sorted; the source writes STS_001, we write STS-001."""
    return sorted(folder.name.replace("_", "-") for folder in raw.iterdir() if re.fullmatch(r"STS_\d+", folder.name))


def read_image(raw: Path, case: str, modality: str) -> tuple[Volume, dict[str, Any]] | None:
    """An image in HU, SUV or MR intensity; None where the case has no such modality."""
    path = raw / case.replace("-", "_") / f"{FILES[modality]}_image.nii.gz"
    if not path.exists():
        return None
    volume = read_volume(path)
    return Volume(volume.array.astype(np.float32), volume.affine), {}


def read_labels(raw: Path, case: str, reference: Volume) -> Volume:
    """Labels on the reference image's grid: 1 is the tumor mass.

    Raises:
        BadInput: the mask is missing, lies on another grid than its image, or holds other values than 0 and 1.
    """
    path = raw / case.replace("-", "_") / f"{DRAWN_ON}_mask.nii.gz"
    if not path.exists():
        raise BadInput(f"{path}: expected the mask on T1, but there is none; fetch the data again.")
    mask = read_volume(path)
    if not same_grid(mask, reference):
        raise BadInput(
            f"{path}: expected the mask on its image's grid, {reference.shape}, got {mask.shape} or another place; "
            "export the mask on the image's grid."
        )
    found = np.unique(mask.array)
    if not set(found.tolist()) <= {0, 1}:
        raise BadInput(f"{path}: expected the values 0 and 1, got {found.tolist()[:5]}; export a binary mask.")
    return mask.with_array(mask.array.astype(np.uint8))
