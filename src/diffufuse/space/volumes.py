"""Read, write and compare volumes: arrays with an affine to patient coordinates."""

import gzip
import os
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_path
from diffufuse.files.sealed import not_as_written
from diffufuse.space.affines import GRID_TOLERANCE_MM, farthest_mm
from diffufuse.space.nifti_file import as_numbers, as_whole_numbers, stored

# An odd number: one half falls between two steps, so rounding moves no voxel across it.
PROBABILITY_STEPS = 65_535
MM3_PER_ML = 1000.0
UNTURNED = [[0, 1], [1, 1], [2, 1]]  # orientation as nibabel names it: array axis and direction, for R, A, S


@dataclass(frozen=True)
class Volume:
    """An array on a regular grid in patient coordinates.

    Attributes:
        array: (X, Y, Z), float32 for images (physical units), uint8 for labels and masks.
        affine: (4, 4), voxel index to RAS coordinate in mm.
    """

    array: np.ndarray
    affine: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along x, y, z."""
        return self.array.shape

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighboring voxel centers along each array axis, mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    def milliliters(self, voxels: float | np.integer) -> float:
        """Return the volume of a number of voxels, ml."""
        return float(voxels * np.prod(self.spacing_mm) / MM3_PER_ML)

    def with_array(self, array: np.ndarray) -> "Volume":
        """Return a volume with other values on the same grid."""
        if array.shape != self.array.shape:
            raise ValueError(f"array: expected shape {self.array.shape}, got {array.shape}")
        return replace(self, array=array)


def same_grid(first: Volume, second: Volume) -> bool:
    """Return whether two volumes have equal shape and voxel positions (to 0.01 mm at every corner)."""
    if first.shape != second.shape:
        return False
    return farthest_mm(first.shape, first.affine, second.affine) < GRID_TOLERANCE_MM


def canonical(volume: Volume) -> Volume:
    """Return the volume in RAS+ orientation, by flipping and permuting its axes."""
    turns = nib.orientations.io_orientation(volume.affine)
    if np.array_equal(turns, UNTURNED):
        return Volume(np.ascontiguousarray(volume.array), np.array(volume.affine, np.float64))
    array = nib.orientations.apply_orientation(volume.array, turns)
    turned = nib.orientations.inv_ornt_aff(turns, volume.shape)
    return Volume(np.ascontiguousarray(array), np.array(volume.affine, np.float64) @ turned)


def read_volume(path: str | os.PathLike[str], *, channel: int | None = None) -> Volume:
    """Read a NIfTI image in RAS orientation, in millimeters, with slope and intercept applied.

    Args:
        path: a `.nii` or `.nii.gz` file, of format 1 or 2 and any byte order; the gzip checksum is verified.
        channel: index of a 3-D image in a 4-D file; None for a 3-D file.

    Returns:
        The volume, float32, or uint8 where the file stores uint8 without slope and intercept. Integers beyond 2^24
        and values of double precision are rounded to float32.

    Raises:
        BadInput: the file cannot be read, is damaged or longer than its header says, is 4-D without a channel, has
            voxels that are not real numbers, or values that are NaN, infinite or beyond float32; its header
            contradicts itself, has no qform and sform, or axes that are not orthogonal.
    """
    path = Path(path)
    header, array = stored(path)
    array = _one_volume(array, channel, path)
    plain = header.kind == np.uint8 and not header.scaled
    return canonical(Volume(array.copy("F") if plain else as_numbers(header, array, path), header.affine))


def read_result(path: str | os.PathLike[str], *, remove: str | os.PathLike[str] | None = None) -> Volume:
    """Read a volume that a job wrote; gzip holds its checksum.

    Args:
        path: written by `write_volume` or `write_probability`.
        remove: what to remove so that it is made anew, for the message; by default the file.

    Raises:
        BadInput: the file is missing or damaged.
    """
    try:
        return read_volume(path)
    except BadInput as error:
        raise not_as_written(path, "a volume", "it is missing or damaged", remove=remove) from error


def read_labels(path: str | os.PathLike[str]) -> Volume:
    """Read the labels of a NIfTI file in RAS orientation, as `read_volume` does, but as exact integers.

    Returns:
        The labels, in the integer type of the file, or int64 where it stores floats or scales.

    Raises:
        BadInput: as `read_volume`, or a value is not a whole number.
    """
    path = Path(path)
    header, array = stored(path)
    return canonical(Volume(as_whole_numbers(header, _one_volume(array, None, path), path), header.affine))


def write_volume(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Write a NIfTI file atomically, with qform equal to sform.

    Args:
        volume: float values are stored as float32, boolean and integer values as uint8.
        path: ends in `.nii.gz`.

    Raises:
        ValueError: a value is not finite or beyond float32, an integer does not fit into uint8, a value is of another
            kind, or the header cannot hold the affine.
    """
    array = volume.array
    if array.dtype.kind not in "fbiu":
        raise ValueError(f"{path}: expected real numbers, got {array.dtype}")
    if array.dtype.kind != "f" and (array.min(initial=0) < 0 or array.max(initial=0) > 255):
        raise ValueError(f"{path}: labels must lie in 0..255, got {array.min()}..{array.max()}")
    with np.errstate(over="ignore"):
        values = array.astype(np.float32 if array.dtype.kind == "f" else np.uint8)
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: {np.count_nonzero(~np.isfinite(values))} voxels are not finite in float32")
    _write_image(nib.Nifti1Image(values, volume.affine), path)


def write_probability(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Write probabilities as a NIfTI file of uint16 with slope 1/65535, which `read_volume` applies.

    The rounding error is at most 7.6e-6; values closer than that to 0 or 1 become 0 or 1. The value 0.5 lies between
    two steps and is rounded up, so thresholding at 0.5 gives the same mask before and after. The file is about half as
    large as float32.

    Args:
        volume: values in 0..1.
        path: ends in `.nii.gz`.

    Raises:
        ValueError: a value is not in 0..1, or the header cannot hold the affine.
    """
    array = volume.array
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{path}: probabilities must lie in 0..1, got {array.min()}..{array.max()}")
    steps = np.rint(array.astype(np.float64) * PROBABILITY_STEPS).astype(np.uint16)
    image = nib.Nifti1Image(steps, volume.affine)
    image.header.set_slope_inter(1 / PROBABILITY_STEPS, 0)
    _write_image(image, path)


def _write_image(image: nib.Nifti1Image, path: str | os.PathLike[str]) -> None:
    """Write an image atomically, with qform equal to sform."""
    affine = np.array(image.affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    for form in (image.get_qform(), image.get_sform()):  # single precision, and the qform without a shear
        if not farthest_mm(image.shape, form, affine) < GRID_TOLERANCE_MM:
            raise ValueError(f"{path}: expected an affine that the header of NIfTI can hold, got {affine.tolist()}")
    with atomic_path(path) as partial:
        partial.write_bytes(gzip.compress(image.to_bytes(), compresslevel=3, mtime=0))


def _one_volume(array: np.ndarray, channel: int | None, path: Path) -> np.ndarray:
    """Return the 3-D array of a channel."""
    if array.ndim == 3 and channel is None:
        return array
    if array.ndim != 4 or channel is None:
        expected = "one 3-D image" if channel is None else f"a 4-D image with channel {channel}"
        raise BadInput(f"{path}: expected {expected}, got shape {array.shape}; name a channel or save one volume.")
    if channel >= array.shape[3]:
        raise BadInput(f"{path}: expected channel {channel}, but the file has {array.shape[3]}; correct the channel.")
    return array[..., channel]
