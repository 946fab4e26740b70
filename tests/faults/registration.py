"""Registrations that went wrong, and what the gate says about them."""

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from diffufuse.prepare.case import prepare_case, require_sound
from diffufuse.prepare.registration import read_transform, write_transforms
from diffufuse.space.transforms import Transform
from diffufuse.space.volumes import Volume, read_volume, write_volume
from faults import Fault

SHAPE = (40, 36, 24)
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
MODALITIES = {"t1": {"kind": "mr", "bias_correction": "none"}, "ct": {"kind": "ct"}}


def body() -> np.ndarray:
    x, y, z = np.indices(SHAPE)
    return ((x - 21) / (13 - z / 8)) ** 2 + ((y - 17) / 12) ** 2 < 1


def tissue(seed: int) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 2.5)
    return field / field.std()


def write_case(folder: Path, *, hu: np.ndarray | None = None) -> None:
    """A T1 of a leg, and a CT, of the same leg unless given."""
    write_volume(Volume(np.where(body(), 500 + 100 * tissue(0), 0).astype(np.float32), AFFINE), folder / "t1.nii.gz")
    hu = ct_of_the_leg() if hu is None else hu
    write_volume(Volume(hu.astype(np.float32), AFFINE), folder / "ct.nii.gz")


def ct_of_the_leg() -> np.ndarray:
    return np.where(body(), 60 - 20 * (tissue(0) - 1) ** 2, -1000)


def moved(folder: Path, shift_mm: tuple[float, float, float]) -> None:
    ct = read_volume(folder / "ct.nii.gz")
    affine = ct.affine.copy()
    affine[:3, 3] += shift_mm
    write_volume(Volume(ct.array, affine), folder / "ct.nii.gz")


def write_far(folder: Path) -> None:
    write_case(folder)
    moved(folder, (70, 0, 0))


def write_other_patient(folder: Path) -> None:
    x, y, _ = np.indices(SHAPE)
    legs = sum(((x - middle) / 8) ** 2 + ((y - 18) / 15) ** 2 < 1 for middle in (10, 30))
    write_case(folder, hu=np.where(legs, 60 - 20 * (tissue(9) - 1) ** 2, -1000))


def write_half_blank(folder: Path) -> None:
    hu = ct_of_the_leg()
    hu[20:] = -1000
    write_case(folder, hu=hu)


def write_constant(folder: Path) -> None:
    write_case(folder, hu=np.zeros(SHAPE))


def write_follower_elsewhere(folder: Path) -> None:
    write_case(folder)
    moved(folder, (110, 0, 0))


def prepare(folder: Path, modalities: dict[str, dict[str, str]] = MODALITIES) -> object:
    images = {name: read_volume(folder / f"{name}.nii.gz") for name in ("t1", "ct")}
    labels = images["t1"].with_array(np.zeros(SHAPE, np.uint8))
    prepared = prepare_case(images, labels, modalities=modalities, reference="t1", spacing_mm=(4.0, 4.0, 4.0))
    require_sound(prepared, "LEG-1", gate={}, picture="LEG-1.png")
    return prepared


def prepare_following(folder: Path) -> object:
    return prepare(folder, {**MODALITIES, "ct": {"kind": "ct", "follows": "t1"}})


def write_torn_transform(folder: Path) -> None:
    write_transforms({"ct": Transform((np.eye(4),))}, folder / "transforms", case="LEG-1")
    (folder / "transforms" / "LEG-1_ct.mat").write_bytes(b"")


def write_two_minds(folder: Path) -> None:
    shifted = np.eye(4)
    shifted[0, 3] = 5
    write_transforms({"ct": Transform((np.eye(4),))}, folder / "transforms", case="LEG-1")
    write_transforms({"ct": Transform((shifted,))}, folder / "other", case="LEG-1")
    (folder / "other" / "LEG-1_ct.mat").rename(folder / "transforms" / "LEG-1_ct.mat")


def read_ct_transform(folder: Path) -> object:
    return read_transform(folder / "transforms", case="LEG-1", modality="ct")


ADVICE = "look at LEG-1.png, then exclude the case"
FAULTS = [
    Fault("registration: far from home", write_far, prepare, f"LEG-1, ct: .*mean displacement.*{ADVICE}"),
    Fault("registration: another patient's CT", write_other_patient, prepare, f"LEG-1, ct: expected .*{ADVICE}"),
    Fault("registration: half of the CT is blank", write_half_blank, prepare, f"LEG-1, ct: .*bodies.*{ADVICE}"),
    Fault("registration: the CT is constant", write_constant, prepare, "ct: expected values that vary"),
    Fault(
        "registration: what follows lies outside the reference",
        write_follower_elsewhere,
        prepare_following,
        f"LEG-1, ct: .*shared field of view.*{ADVICE}",
    ),
    Fault("registration: a transform's matrix is cut off", write_torn_transform, read_ct_transform, "whole transform"),
    Fault("registration: a transform's two files differ", write_two_minds, read_ct_transform, "the .mat beside it"),
]
