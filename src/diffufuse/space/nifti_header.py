"""The header of a NIfTI file: what it says of voxels, values, units and place, and whether that agrees.

nibabel knows the fields. The same facts often stand in them twice: the type of the voxels and their bits, the
dimensions and the size of the file, the qform and the sform, the sform and the spacing. Readers differ in which they
follow, so a contradiction is refused.

Source:
    https://nifti.nimh.nih.gov/nifti-1
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np

from diffufuse.errors import BadInput
from diffufuse.space.affines import (
    GRID_TOLERANCE_MM,
    ORTHONORMAL_TOLERANCE,
    farthest_mm,
    of_quaternion,
    quaternion_error,
)
from diffufuse.types import Affine

SPACING_TOLERANCE = 1e-3
# A spacing beyond these is one in another unit than the header says.
SPACING_MM = (0.01, 100.0)
FARTHEST_MM = 1e6
# Size of the header, which is also its first field, to its fields and the name of the format, voxels in the same file.
LAYOUTS = {348: (nib.nifti1.header_dtype, b"n+1"), 540: (nib.nifti2.header_dtype, b"n+2")}
# The names of headers whose voxels lie in another file.
PAIRED = (b"ni1", b"ni2")
LINE_ENDS = [13, 10, 26, 10]  # of format 2, which a transfer as text would change
EXTENSION_FLAG_BYTES = 4  # follow the header
BYTE_ORDERS: Sequence[Literal["little", "big"]] = ("little", "big")
LONGEST_START = max(LAYOUTS) + EXTENSION_FLAG_BYTES
TYPES = {
    2: "uint8", 256: "int8", 4: "int16", 512: "uint16", 8: "int32", 768: "uint32", 1024: "int64", 1280: "uint64",
    16: "float32", 64: "float64",
}  # fmt: skip
OTHER_TYPES = {
    1: "one bit", 32: "complex", 128: "RGB colors", 1536: "128-bit floats", 1792: "complex", 2048: "complex",
    2304: "RGBA colors",
}  # fmt: skip
# Matrix, symmetric matrix, displacement, vector, points, triangles, quaternion, RGB and RGBA.
NOT_SCALAR = {1004, 1005, 1006, 1007, 1008, 1009, 1010, 2003, 2004}
MILLIMETERS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
CODES = range(6)
# Smaller slopes are taken for "no slope" by other readers.
SMALLEST_SLOPE = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Header:
    """What a header says.

    Attributes:
        kind: type of a stored voxel, with its byte order.
        shape: number of voxels along each axis, at least three of them; trailing axes of length 1 are dropped.
        offset: of the first voxel in the file, bytes.
        slope: the value of a voxel is the stored one times slope, plus inter.
        inter: likewise, in the unit of the image.
        step: relative rounding error of slope and inter.
        affine: (4, 4), voxel index to RAS coordinate in mm.
    """

    kind: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    slope: float
    inter: float
    step: float
    affine: Affine

    @property
    def scaled(self) -> bool:
        """Whether the values differ from those stored."""
        return (self.slope, self.inter) != (1.0, 0.0)

    @property
    def size(self) -> int:
        """Number of bytes of the whole file, uncompressed."""
        return self.offset + self.kind.itemsize * int(np.prod([int(n) for n in self.shape], dtype=object))


def parse(start: bytes, path: Path) -> Header:
    """Read the header.

    Args:
        start: the first bytes of the file, at least as many as the header has.
        path: for messages.

    Raises:
        BadInput: it is no header of a single NIfTI file, contradicts itself, has voxels that are not real numbers, or
            says of values or place what other readers understand in another way.
    """
    fields = _fields(start, path)
    kind, shape = _kind(fields, path), _shape(fields, path)
    slope, inter = _scaling(fields, path)
    return Header(
        kind=kind,
        shape=shape,
        offset=_offset(fields, path),
        slope=slope,
        inter=inter,
        step=float(np.finfo(fields["scl_slope"].dtype).eps),
        affine=_affine(fields, shape, path),
    )


def broken(path: Path, reason: str) -> BadInput:
    """The error of a file that is not whole."""
    return BadInput(f"{path}: expected a whole NIfTI file, but {reason}; fetch it again.")


def _fields(start: bytes, path: Path) -> np.void:
    for order in BYTE_ORDERS:
        size = int.from_bytes(start[:4], order)
        layout, magic = LAYOUTS.get(size, (None, b""))
        if layout is None or len(start) < size + EXTENSION_FLAG_BYTES:
            continue
        fields: np.void = np.frombuffer(start, layout.newbyteorder(order), count=1)[0]
        named = bytes(fields["magic"])
        if size == nib.nifti2.header_dtype.itemsize and fields["eol_check"].tolist() != LINE_ENDS:
            raise broken(path, "its header was changed by a transfer as text")
        if named == magic:
            return fields
        if named in PAIRED:
            raise BadInput(
                f"{path}: expected header and voxels in one file, got a header whose voxels lie in another (.hdr and "
                ".img); save both as one .nii.gz."
            )
        raise broken(path, "its header does not name the format NIfTI (an Analyze header does not say enough)")
    raise broken(path, "it does not begin with a NIfTI header")


def _kind(fields: np.void, path: Path) -> np.dtype[Any]:
    code, bits = int(fields["datatype"]), int(fields["bitpix"])
    if code not in TYPES:
        got = OTHER_TYPES.get(code, f"the unknown type {code}")
        raise BadInput(f"{path}: expected one real number per voxel, got {got}; save one volume of numbers.")
    if int(fields["intent_code"]) in NOT_SCALAR:
        raise BadInput(
            f"{path}: expected an image, but the header says that its voxels are vectors, matrices or colors (intent "
            f"{int(fields['intent_code'])}); save one volume of numbers."
        )
    kind = np.dtype(TYPES[code])
    kind = kind if fields["dim"].dtype.isnative else kind.newbyteorder("S")
    if bits != 8 * kind.itemsize:
        raise broken(path, f"its header says {TYPES[code]} and {bits} bits per voxel, which contradict")
    return kind


def _shape(fields: np.void, path: Path) -> tuple[int, ...]:
    """The dimensions; those beyond their number are not used."""
    axes = int(fields["dim"][0])
    shape = tuple(int(length) for length in fields["dim"][1 : 1 + max(axes, 0)])
    if not 1 <= axes <= 7 or min(shape) < 1:
        raise broken(path, f"its header says {axes} dimensions of {', '.join(map(str, shape)) or 'no'} voxels")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) < 3:
        raise BadInput(f"{path}: expected one 3-D image, got shape {shape}; save the slices as one volume.")
    return shape


def _offset(fields: np.void, path: Path) -> int:
    offset, least = float(fields["vox_offset"]), int(fields["sizeof_hdr"]) + EXTENSION_FLAG_BYTES
    if not (offset.is_integer() and offset >= least):
        raise broken(path, f"its header says that the voxels begin at byte {offset!r}, expected {least} or later")
    return int(offset)


def _scaling(fields: np.void, path: Path) -> tuple[float, float]:
    """Slope and inter. No slope is written as 0 or NaN; then an inter is understood in two ways."""
    slope, inter = float(fields["scl_slope"]), float(fields["scl_inter"])
    if all(number == 0 or np.isnan(number) for number in (slope, inter)):
        return 1.0, 0.0
    if not (np.isfinite([slope, inter]).all() and abs(slope) >= SMALLEST_SLOPE):
        raise BadInput(
            f"{path}: expected a slope and an intercept of the values, got {slope:g} and {inter:g}, which readers "
            "understand in different ways; correct scl_slope and scl_inter."
        )
    return slope, inter


def _affine(fields: np.void, shape: tuple[int, ...], path: Path) -> Affine:
    """The sform, or the qform where it alone is given; in mm."""
    codes = {name: int(fields[f"{name}_code"]) for name in ("qform", "sform")}
    if not any(codes.values()):
        raise BadInput(f"{path}: expected a qform or sform, but the file does not say where it lies; export it again.")
    if not all(code in CODES for code in codes.values()):
        raise broken(path, f"the code of qform or sform is none of 0 to 5, got {codes['qform']} and {codes['sform']}")
    unit = int(fields["xyzt_units"]) & 7
    if unit not in MILLIMETERS:
        raise BadInput(f"{path}: expected a unit of length (xyzt_units), got the unknown {unit}; correct the header.")
    if not codes["sform"]:
        return _qform(fields, MILLIMETERS[unit], path)
    sform = _sform(fields, MILLIMETERS[unit], path)
    if not codes["qform"]:
        _require_same_spacing(fields, sform, MILLIMETERS[unit], path)
        return sform
    qform = _qform(fields, MILLIMETERS[unit], path)
    if not farthest_mm(shape[:3], qform, sform) < _allowed_mm(fields, shape, qform):
        raise BadInput(
            f"{path}: expected qform and sform to agree, but they place the image differently; correct the wrong one."
        )
    return sform


def _sform(fields: np.void, millimeters: float, path: Path) -> Affine:
    rows = np.stack([fields["srow_x"], fields["srow_y"], fields["srow_z"]])
    with np.errstate(over="ignore"):
        rows = rows * rows.dtype.type(millimeters)
    affine = np.vstack([rows.astype(np.float64), [0, 0, 0, 1]])
    _require_sensible(affine, path)
    return affine


def _qform(fields: np.void, millimeters: float, path: Path) -> Affine:
    vector = [float(fields[f"quatern_{name}"]) for name in "bcd"]
    # Any number that is not negative means that the axis is not flipped: old converters wrote others than 0 and 1.
    flip, spacing = float(fields["pixdim"][0]), fields["pixdim"][1:4]
    origin = np.array([fields[f"qoffset_{name}"] for name in "xyz"])
    numbers = [*vector, *map(float, spacing), *map(float, origin)]
    if not np.isfinite(numbers).all() or not (flip >= 0 or flip == -1) or min(map(float, spacing)) <= 0:
        raise broken(path, "its qform has no positive spacing, or no rotation and origin")
    if np.linalg.norm(vector) > 1 + SPACING_TOLERANCE and not int(fields["sform_code"]):
        raise broken(path, "its qform has no rotation: the quaternion is longer than 1")
    with np.errstate(over="ignore"):
        scale = spacing.dtype.type(millimeters)
        spacing_mm, origin_mm = (spacing * scale).astype(np.float64), (origin * scale).astype(np.float64)
    spacing_mm[2] *= -1 if flip < 0 else 1
    affine = of_quaternion(vector, spacing_mm, origin_mm)
    _require_sensible(affine, path)
    return affine


def _allowed_mm(fields: np.void, shape: tuple[int, ...], qform: Affine) -> float:
    """How far qform and sform may lie apart: further where rounding moves the rotation of the quaternion."""
    diagonal_mm = float(np.linalg.norm(np.linalg.norm(qform[:3, :3], axis=0) * np.array(shape[:3])))
    return GRID_TOLERANCE_MM + diagonal_mm * quaternion_error([float(fields[f"quatern_{name}"]) for name in "bcd"])


def _require_same_spacing(fields: np.void, sform: Affine, millimeters: float, path: Path) -> None:
    """Refuse a spacing that is not that of the sform: other readers take the spacing from the one or the other."""
    with np.errstate(over="ignore"):
        said = np.array(fields["pixdim"][1:4], np.float64) * millimeters
    lies = np.linalg.norm(sform[:3, :3], axis=0)
    if not (np.abs(said - lies) <= SPACING_TOLERANCE * lies).all():
        raise BadInput(
            f"{path}: expected the spacing of the sform, {_numbers(lies)} mm, also in pixdim, got {_numbers(said)} mm; "
            "correct the wrong one."
        )


def _require_sensible(affine: Affine, path: Path) -> None:
    """Refuse an affine that is not finite, or whose voxels have no sensible size or axes not at right angles."""
    if not (np.isfinite(affine).all() and np.abs(affine).max() <= FARTHEST_MM):
        raise broken(path, "its header does not say where the voxels lie")
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    if not ((spacing_mm >= SPACING_MM[0]) & (spacing_mm <= SPACING_MM[1])).all():
        raise BadInput(
            f"{path}: expected voxels of {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm, got {_numbers(spacing_mm)} mm; "
            "correct the spacing or its unit (xyzt_units)."
        )
    axes = affine[:3, :3] / spacing_mm
    worst = np.abs(axes.T @ axes - np.eye(3)).max()
    if not worst < ORTHONORMAL_TOLERANCE:
        raise BadInput(
            f"{path}: expected axes at right angles, but they are off by {worst:.3g}; resample it onto a straight grid."
        )


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
