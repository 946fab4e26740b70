"""The real patients and the phantom, as the benchmarks of registration read them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from diffufuse.prepare.bias import correct_bias
from diffufuse.prepare.body import foreground
from diffufuse.prepare.case import matching_view
from diffufuse.space.transforms import rigid_matrix
from diffufuse.space.volumes import Volume, read_volume

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("DIFFUFUSE_MIRROR", ROOT.parent / "shared" / "data"))


def as_registered(image: Volume, kind: str) -> Volume:
    """An image as `prepare_case` registers it: MR without its receive field, CT and PET in a range that matches."""
    return matching_view(correct_bias(image, foreground(image)) if kind == "mr" else image, kind)


def patients() -> Iterator[tuple[str, dict[str, Volume]]]:
    """Each patient's T1, CT and PET, cropped around the tumor, T1 aligned to PET/CT and corrected by the publisher."""
    for folder in sorted((SHARED / "sts_ibsi" / "nifti").glob("STS_*")):
        images = {"t1": "MR_T1", "ct": "CT", "pet": "PET"}
        read = {name: read_volume(folder / f"{file}_image.nii.gz") for name, file in images.items()}
        yield folder.name, {"t1": read["t1"], **{kind: as_registered(read[kind], kind) for kind in ("ct", "pet")}}


def phantoms() -> Iterator[tuple[str, dict[str, Volume], np.ndarray]]:
    """Each phantom's images, and the true matrix from MR to PET/CT; needs `snakemake -- ingest`."""
    for folder in sorted((ROOT / "results/ingest/phantom").glob("PH-*")):
        kinds = {"t1": "mr", "t2fs": "mr", "ct": "ct", "pet": "pet"}
        images = {
            name: as_registered(read_volume(folder / f"{folder.name}_{name}.nii.gz"), k) for name, k in kinds.items()
        }
        images["t1_as_acquired"] = read_volume(folder / f"{folder.name}_t1.nii.gz")
        truth = json.loads((ROOT / f"data/raw/phantom_truth/{folder.name}.json").read_text())["mr_to_petct"]
        yield folder.name, images, np.array(truth)


def body_points(image: Volume, *, most: int = 20_000) -> np.ndarray:
    """Points (3, N) within the body that an image shows, RAS mm."""
    index = np.argwhere(foreground(image))
    index = index[:: max(1, len(index) // most)]
    return image.affine[:3, :3] @ index.T + image.affine[:3, 3:]


def displacement(name: str, *, about_mm: np.ndarray, shift_mm: float = 10.0, angle_deg: float = 8.0) -> np.ndarray:
    """A known rigid matrix: a shift and a rotation, in directions drawn from a name."""
    generator = np.random.default_rng(list(name.encode()))
    direction, axis = (v / np.linalg.norm(v) for v in generator.normal(size=(2, 3)))
    return rigid_matrix(shift_mm * direction, angle_deg * axis, about_mm=about_mm)
