"""DICOM files become series, and a series becomes a volume or a sentence saying why not."""

import os
import re
import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from diffufuse.errors import BadInput
from diffufuse.volumes import ORTHONORMAL_TOLERANCE, Volume, canonical

# pydicom has no common error class: a damaged file surfaces as whichever of these its parser meets first.
BROKEN_FILE = (InvalidDicomError, OSError, EOFError, struct.error)
UNREADABLE = (*BROKEN_FILE, ValueError, TypeError, LookupError, AttributeError, RuntimeError)
DICOM_SUFFIX = re.compile(r"|\.(dcm|ima|[0-9]+)", re.IGNORECASE)
NOT_DICOM_NAMES = ("DICOMDIR", "LICENSE", "README", "VERSION", "NOTICE")
NEEDS_RESCALE = ("CT", "PT")
COSINE_TOLERANCE = 1e-4
GAP_TOLERANCE = 0.05  # of the slice distance; whole-body PET joins its beds with gaps 2.5 % off
TILT_TOLERANCE_DEG = 0.05
SIDECAR_TAGS = {
    "Modality": "modality",
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "manufacturer_model",
    "MagneticFieldStrength": "magnetic_field_strength_t",
    "RepetitionTime": "repetition_time_ms",
    "EchoTime": "echo_time_ms",
    "KVP": "tube_voltage_kv",
    "Units": "units",
    "DecayCorrection": "decay_correction",
    "SliceThickness": "slice_thickness_mm",
}


@dataclass(frozen=True)
class Series:
    """The files that share one SeriesInstanceUID.

    Attributes:
        uid: SeriesInstanceUID.
        modality: `CT`, `MR`, `PT`, `RTSTRUCT`, ...
        description: SeriesDescription; free text that may name a person, never to be written anywhere.
        frame_of_reference: FrameOfReferenceUID, empty if the file has none.
        files: sorted by path.
    """

    uid: str
    modality: str
    description: str
    frame_of_reference: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class _Slice:
    path: Path
    frame_of_reference: str
    position: np.ndarray  # (3,), LPS, mm
    cosines: np.ndarray  # (2, 3), directions of a growing column index and a growing row index, LPS
    spacing_mm: np.ndarray  # (2,), between rows and between columns
    values: np.ndarray  # (rows, columns), float32


def find_series(folder: str | os.PathLike[str]) -> list[Series]:
    """All series below a folder, each header read once and no pixels.

    Args:
        folder: searched with its subfolders; files whose name is clearly not DICOM's are passed over.

    Returns:
        Sorted by modality and UID.

    Raises:
        BadInput: there is no DICOM file, or one that should be DICOM cannot be parsed.
    """
    folder = Path(folder)
    grouped: dict[str, list[tuple[Path, pydicom.Dataset]]] = defaultdict(list)
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and _should_be_dicom(path)):
        header = read_header(path)
        grouped[str(header.SeriesInstanceUID)].append((path, header))
    if not grouped:
        raise BadInput(f"{folder}: expected DICOM files, but found none; check the folder's name or fetch it again.")
    return sorted((_series(*item) for item in grouped.items()), key=lambda series: (series.modality, series.uid))


def read_header(path: str | os.PathLike[str]) -> pydicom.FileDataset:
    """Everything in a DICOM file before its pixels.

    Raises:
        BadInput: the file is not DICOM, is damaged, or names no series or modality.
    """
    header = _parse(Path(path), pixels=False)
    if not header.get("SeriesInstanceUID") or not header.get("Modality"):
        raise _unreadable(Path(path), "its header ends before series and modality are named")
    return header


def read_series(series: Series) -> Volume:
    """The series as one volume, or a refusal wherever the slices are not a regular stack.

    Slices are ordered by ImagePositionPatient along the slice normal; each is rescaled by its own slope and intercept.

    Returns:
        float32 in RAS orientation, in the series' own physical unit (HU, Bq/ml, arbitrary for MR).

    Raises:
        BadInput: a file is unreadable, truncated or multi-frame; the slices differ in orientation, size, spacing or
            frame of reference; one stands twice, is missing or alone; the stack is tilted or crooked.
    """
    slices = [_read_slice(path) for path in series.files]
    if len(slices) < 2:
        raise BadInput(f"{slices[0].path}: expected a stack of slices, but the series has one; fetch the whole series.")
    _require_equal(slices, "one orientation", lambda item: item.cosines, COSINE_TOLERANCE)
    _require_equal(slices, "one number of rows and columns", lambda item: np.array(item.values.shape), 0)
    _require_equal(slices, "one pixel spacing", lambda item: item.spacing_mm, COSINE_TOLERANCE)
    _require_one_frame(slices)
    normal = np.cross(*slices[0].cosines)
    slices.sort(key=lambda item: float(item.position @ normal))
    _require_even_gaps(slices, normal)
    _require_straight(slices, normal)
    array = np.stack([item.values.T for item in slices], axis=-1)
    return canonical(Volume(array, _affine(slices)))


def ras_from_lps(points: np.ndarray) -> np.ndarray:
    """DICOM's patient coordinates (left, posterior, superior) as ours (right, anterior, superior).

    The one place of this conversion; it is its own inverse.

    Args:
        points: (..., 3), positions or directions, mm.
    """
    return points * np.array([-1.0, -1.0, 1.0])


def sidecar_of(series: Series) -> dict[str, Any]:
    """What may be told about a series: an allow-list of coded and numeric tags, free of names, dates and UIDs.

    Returns:
        A flat record; tags that are absent or empty are left out.
    """
    header = read_header(series.files[0])
    found = {name: header.get(tag) for tag, name in SIDECAR_TAGS.items() if header.get(tag) not in (None, "")}
    record = {name: value if isinstance(value, str) else float(value) for name, value in found.items()}
    if header.get("PixelSpacing"):
        record["row_spacing_mm"], record["column_spacing_mm"] = _numbers(header, "PixelSpacing", 2).tolist()
    return record


def _should_be_dicom(path: Path) -> bool:
    if path.name.startswith(".") or path.name.upper() in NOT_DICOM_NAMES:
        return False
    return DICOM_SUFFIX.fullmatch(path.suffix) is not None


def _series(uid: str, members: Sequence[tuple[Path, pydicom.Dataset]]) -> Series:
    first = members[0][1]
    description, frame = (str(first.get(tag) or "") for tag in ("SeriesDescription", "FrameOfReferenceUID"))
    return Series(uid, str(first.Modality), description, frame, tuple(path for path, _ in members))


def _parse(path: Path, *, pixels: bool) -> pydicom.FileDataset:
    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels)
    except UNREADABLE as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, reason: str) -> BadInput:
    size = path.stat().st_size if path.exists() else 0
    return BadInput(
        f"{path}: expected a whole DICOM file, but its {size} bytes cannot be read ({reason}); fetch it again."
    )


def _read_slice(path: Path) -> _Slice:
    header = _parse(path, pixels=True)
    _require_single_frame(header, path)
    try:
        stored = header.pixel_array
    except UNREADABLE as error:
        raise _unreadable(path, f"pixels: {error}") from error
    if stored.ndim != 2:
        raise BadInput(f"{path}: expected one gray value per pixel, got shape {stored.shape}; leave color images out.")
    cosines = _numbers(header, "ImageOrientationPatient", 6).reshape(2, 3)
    spacing_mm = _numbers(header, "PixelSpacing", 2)
    if np.abs(cosines @ cosines.T - np.eye(2)).max() > ORTHONORMAL_TOLERANCE or spacing_mm.min() <= 0:
        raise BadInput(
            f"{path}: expected unit directions at right angles and positive spacing, got {cosines.tolist()} and "
            f"{spacing_mm.tolist()} mm; export it again."
        )
    return _Slice(
        path=path,
        frame_of_reference=str(header.get("FrameOfReferenceUID") or ""),
        position=_numbers(header, "ImagePositionPatient", 3),
        cosines=cosines,
        spacing_mm=spacing_mm,
        values=_rescaled(stored, header),
    )


def _require_single_frame(header: pydicom.Dataset, path: Path) -> None:
    if int(header.get("NumberOfFrames") or 1) > 1 or "PerFrameFunctionalGroupsSequence" in header:
        raise BadInput(f"{path}: expected one slice per file, but it is multi-frame; convert it to single-frame files.")


def _rescaled(stored: np.ndarray, header: pydicom.Dataset) -> np.ndarray:
    """Stored numbers in physical units, by this slice's own slope; only MR may come without one."""
    if header.get("RescaleSlope") is None and header.get("Modality") not in NEEDS_RESCALE:
        return stored.astype(np.float32)
    slope, intercept = (_numbers(header, tag, 1)[0] for tag in ("RescaleSlope", "RescaleIntercept"))
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def _numbers(header: pydicom.Dataset, keyword: str, count: int) -> np.ndarray:
    try:
        numbers = np.atleast_1d(np.asarray(header.get(keyword), float))
    except UNREADABLE:
        numbers = np.array([np.nan])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        path = getattr(header, "filename", "DICOM header")
        raise BadInput(
            f"{path}: expected {count} number(s) in {keyword}, which is missing or malformed; export it again."
        )
    return numbers


def _require_equal(slices: list[_Slice], what: str, of: Callable[[_Slice], np.ndarray], tolerance: float) -> None:
    first = slices[0]
    for other in slices[1:]:
        if np.abs(of(other) - of(first)).max() > tolerance:
            raise BadInput(
                f"{other.path}: expected {what} in a series, got {of(other).tolist()} beside {of(first).tolist()} in "
                f"{first.path.name}; move the files that do not belong to the stack elsewhere."
            )


def _require_one_frame(slices: list[_Slice]) -> None:
    if len({item.frame_of_reference for item in slices}) > 1:
        raise BadInput(
            f"{slices[0].path.parent}: expected one frame of reference, got several; separate the examinations."
        )


def _require_even_gaps(slices: list[_Slice], normal: np.ndarray) -> None:
    along_mm = np.array([item.position @ normal for item in slices])
    gaps_mm = np.diff(along_mm)
    usual_mm = float(np.median(gaps_mm))
    for before, after, start_mm, gap_mm in zip(slices[:-1], slices[1:], along_mm, gaps_mm, strict=False):
        where = f"{before.path.name} at {start_mm:.2f} mm and {after.path.name} at {start_mm + gap_mm:.2f} mm"
        if gap_mm <= GAP_TOLERANCE * usual_mm:
            raise BadInput(
                f"{after.path}: expected one slice per position, but {where} are the same; remove the duplicate or "
                "separate the time frames."
            )
        if abs(gap_mm - usual_mm) > GAP_TOLERANCE * usual_mm:
            raise BadInput(
                f"{before.path.parent}: expected a slice every {usual_mm:.2f} mm, but {gap_mm:.2f} mm lie between "
                f"{where}; fetch the missing slice."
            )


def _require_straight(slices: list[_Slice], normal: np.ndarray) -> None:
    """Refuse a stack that leans (gantry tilt), or slices off the straight line from first to last."""
    positions, step = np.array([item.position for item in slices]), _step_mm(slices)
    tilt_deg = np.degrees(np.arctan2(np.linalg.norm(np.cross(step, normal)), step @ normal))
    if tilt_deg > TILT_TOLERANCE_DEG:
        raise BadInput(
            f"{slices[0].path.parent}: expected slices stacked along their normal, but they lean by "
            f"{tilt_deg:.2f} degrees (gantry tilt); resample the series to an upright stack."
        )
    off_mm = np.linalg.norm(positions - positions[0] - np.arange(len(slices))[:, None] * step, axis=1)
    if off_mm.max() > GAP_TOLERANCE * np.linalg.norm(step):
        worst = slices[int(off_mm.argmax())]
        raise BadInput(
            f"{worst.path}: expected slices evenly on one line, but this one is {off_mm.max():.2f} mm off; "
            "resample the series to an even stack."
        )


def _step_mm(slices: list[_Slice]) -> np.ndarray:
    return (slices[-1].position - slices[0].position) / (len(slices) - 1)


def _affine(slices: list[_Slice]) -> np.ndarray:
    """Index (column, row, slice) to RAS coordinate; PixelSpacing names the row distance first."""
    first = slices[0]
    row_mm, column_mm = first.spacing_mm
    columns = [first.cosines[0] * column_mm, first.cosines[1] * row_mm, _step_mm(slices), first.position]
    affine = np.eye(4)
    affine[:3] = ras_from_lps(np.array(columns)).T
    return affine
