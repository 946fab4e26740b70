"""Read, write and compare volumes: arrays with an affine to patient coordinates."""

import gzip
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_path

ORTHONORMAL_TOLERANCE = 1e-3
GRID_TOLERANCE_MM = 1e-2
# An odd number: one half falls between two steps, so rounding moves no voxel across it.
PROBABILITY_STEPS = 65_535
# A damaged file surfaces as whichever of these gzip or nibabel meets first.
BROKEN_FILE = (
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.wrapstruct.WrapStructError,
)


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

    def with_array(self, array: np.ndarray) -> "Volume":
        """Return a volume with other values on the same grid."""
        if array.shape != self.array.shape:
            raise ValueError(f"array: expected shape {self.array.shape}, got {array.shape}")
        return replace(self, array=array)


def same_grid(first: Volume, second: Volume) -> bool:
    """Return whether two volumes have equal shape and voxel positions (to 0.01 mm at every corner)."""
    if first.shape != second.shape:
        return False
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    corners[:, :3] *= np.array(first.shape) - 1
    apart_mm = (corners @ first.affine.T - corners @ second.affine.T)[:, :3]
    return bool(np.abs(apart_mm).max() < GRID_TOLERANCE_MM)


def canonical(volume: Volume) -> Volume:
    """Return the volume in RAS+ orientation, by flipping and permuting its axes."""
    image = nib.as_closest_canonical(nib.Nifti1Image(volume.array, volume.affine))
    return Volume(np.ascontiguousarray(image.dataobj), image.affine)


def read_volume(path: str | os.PathLike[str], *, channel: int | None = None) -> Volume:
    """Read a NIfTI file in RAS orientation; the gzip checksum is verified.

    Args:
        path: a `.nii` or `.nii.gz` file.
        channel: index of a 3-D image in a 4-D file; None for a 3-D file.

    Returns:
        The volume, float32, or uint8 where the file stores uint8.

    Raises:
        BadInput: the file is damaged, has no or contradictory qform and sform, is 4-D without a channel, has NaN or
            infinite voxels, or axes that are not orthogonal.
    """
    path = Path(path)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        image = nib.Nifti1Image.from_bytes(content)
        kind = np.uint8 if image.get_data_dtype() == np.uint8 else np.float32
        array = np.asanyarray(image.dataobj)
    except BROKEN_FILE as error:
        raise BadInput(
            f"{path}: expected a whole NIfTI file, but reading it failed ({error}); fetch it again."
        ) from error
    array = _one_volume(array, channel, path).astype(kind)
    _require_finite(array, path)
    affine = _affine(image, path)
    _require_orthonormal(affine, path)
    return canonical(Volume(array, affine))


def write_volume(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Write a NIfTI file atomically, with qform equal to sform.

    Args:
        volume: float values are stored as float32, boolean and integer values as uint8.
        path: ends in `.nii.gz`.

    Raises:
        ValueError: a value is not finite, or an integer does not fit into uint8.
    """
    array = volume.array
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: {np.count_nonzero(~np.isfinite(array))} voxels are not finite")
    if not np.issubdtype(array.dtype, np.floating) and (array.min(initial=0) < 0 or array.max(initial=0) > 255):
        raise ValueError(f"{path}: labels must lie in 0..255, got {array.min()}..{array.max()}")
    kind = np.float32 if np.issubdtype(array.dtype, np.floating) else np.uint8
    _write_image(nib.Nifti1Image(array.astype(kind), volume.affine), path)


def write_probability(volume: Volume, path: str | os.PathLike[str]) -> None:
    """Write probabilities as a NIfTI file of uint16 with slope 1/65535, which `read_volume` applies.

    The rounding error is at most 7.6e-6; values closer than that to 0 or 1 become 0 or 1. The value 0.5 lies between
    two steps and is rounded up, so thresholding at 0.5 gives the same mask before and after. The file is about half as
    large as float32.

    Args:
        volume: values in 0..1.
        path: ends in `.nii.gz`.

    Raises:
        ValueError: a value is not in 0..1.
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
    image.set_qform(image.affine, code=1)
    image.set_sform(image.affine, code=1)
    with atomic_path(path) as partial:
        partial.write_bytes(gzip.compress(image.to_bytes(), compresslevel=3, mtime=0))


def _one_volume(array: np.ndarray, channel: int | None, path: Path) -> np.ndarray:
    """Return the 3-D array of a channel; trailing axes of length 1 are dropped."""
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 3 and channel is None:
        return array
    if array.ndim != 4 or channel is None:
        expected = "one 3-D image" if channel is None else f"a 4-D image with channel {channel}"
        raise BadInput(f"{path}: expected {expected}, got shape {array.shape}; name a channel or save one volume.")
    if channel >= array.shape[3]:
        raise BadInput(f"{path}: expected channel {channel}, but the file has {array.shape[3]}; correct the channel.")
    return array[..., channel]


def _affine(image: nib.Nifti1Image, path: Path) -> np.ndarray:
    """Return the affine of a file; qform and sform must agree."""
    (qform, q_code), (sform, s_code) = image.get_qform(coded=True), image.get_sform(coded=True)
    if not (q_code or s_code):
        raise BadInput(f"{path}: expected a qform or sform, but the file does not say where it lies; export it again.")
    if q_code and s_code and not same_grid(*(Volume(np.empty(image.shape[:3], bool), form) for form in (qform, sform))):
        raise BadInput(
            f"{path}: expected qform and sform to agree, but they place the image differently; correct the wrong one."
        )
    return np.asarray(sform if s_code else qform)


def _require_finite(array: np.ndarray, path: Path) -> None:
    broken = np.argwhere(~np.isfinite(array))
    if len(broken):
        raise BadInput(
            f"{path}: expected finite values, but {len(broken)} voxels are NaN or infinite, the first at "
            f"{tuple(int(i) for i in broken[0])}; repair or exclude the image."
        )


def _require_orthonormal(affine: np.ndarray, path: Path) -> None:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    worst = np.abs(axes.T @ axes - np.eye(3)).max()
    if not worst < ORTHONORMAL_TOLERANCE:
        raise BadInput(
            f"{path}: expected axes at right angles, but they are off by {worst:.3g}; resample it onto a straight grid."
        )
