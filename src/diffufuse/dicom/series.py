"""Group DICOM files into series, and read a series as a volume."""

import gc
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom

from diffufuse.dicom.completeness import require_complete
from diffufuse.dicom.decoding import DicomFile, is_directory, open_file
from diffufuse.dicom.elements import numbers, refusing, text_of, value_of
from diffufuse.dicom.file_names import dicom_files
from diffufuse.dicom.geometry import GeometryReport, report_on
from diffufuse.dicom.planes import Plane, planes_of
from diffufuse.dicom.stack import Stack, ras_from_lps, stack_of
from diffufuse.dicom.uniform import require_identity
from diffufuse.errors import BadInput
from diffufuse.space.volumes import Volume

__all__ = [
    "Series",
    "check_geometry",
    "find_series",
    "first_header",
    "headers_of",
    "ras_from_lps",
    "read_header",
    "read_series",
    "read_stack",
    "sidecar_of",
]

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
CODED = ("Modality", "Manufacturer", "ManufacturerModelName", "Units", "DecayCorrection")


@dataclass(frozen=True)
class Series:
    """The files that share one SeriesInstanceUID.

    Attributes:
        uid: SeriesInstanceUID.
        modality: `CT`, `MR`, `PT`, `RTSTRUCT`, ...
        description: SeriesDescription; free text that may name a person, and must not be written to disk.
        frame_of_reference: FrameOfReferenceUID, empty if the file has none.
        files: sorted by path.
        opened: the parsed files, if `find_series` has parsed them, so that none is parsed twice.
    """

    uid: str
    modality: str
    description: str = field(repr=False)
    frame_of_reference: str
    files: tuple[Path, ...]
    opened: tuple[DicomFile, ...] = field(default=(), repr=False, compare=False)


def find_series(folder: str | os.PathLike[str]) -> list[Series]:
    """Return all series below a folder; each header is read once, pixels are not read.

    Args:
        folder: searched recursively; files whose name is clearly not that of a DICOM file are skipped.

    Returns:
        Sorted by modality and UID.

    Raises:
        BadInput: there is no DICOM file, or one that should be DICOM cannot be parsed.
    """
    folder = Path(folder)
    grouped: dict[str, list[DicomFile]] = defaultdict(list)
    with _collector_paused(), refusing(folder):
        for path in dicom_files(folder):
            file = open_file(path)
            if not is_directory(file):
                grouped[text_of(file.header, "SeriesInstanceUID", path)].append(file)
    if not grouped:
        raise BadInput(f"{folder}: expected DICOM files, but found none; check the folder's name or fetch it again.")
    return sorted((_series(*item) for item in grouped.items()), key=lambda series: (series.modality, series.uid))


def read_header(path: str | os.PathLike[str]) -> pydicom.FileDataset:
    """Read all elements of a DICOM file before its pixel data.

    Raises:
        BadInput: the file is not DICOM, is the index of a medium or damaged, or has no SeriesInstanceUID or Modality.
    """
    file = open_file(path)
    if is_directory(file):
        raise BadInput(f"{path}: expected one DICOM file of a series, got the index of a medium; name the file itself.")
    return file.header


def headers_of(series: Series) -> list[pydicom.FileDataset]:
    """Return the header of every file, in the order of `series.files`, parsed at most once.

    Raises:
        BadInput: a file is unreadable.
    """
    return [file.header for file in _opened(series)]


def first_header(series: Series) -> pydicom.FileDataset:
    """Return the header of the first file.

    Raises:
        BadInput: the file is unreadable.
    """
    return (series.opened[0] if series.opened else open_file(series.files[0])).header


def read_series(series: Series, *, fill_gaps: int = 0) -> Volume:
    """Return the volume of `read_stack`, without its facts."""
    return read_stack(series, fill_gaps=fill_gaps).volume


def read_stack(series: Series, *, fill_gaps: int = 0, partial: bool = False) -> Stack:
    """Read a series as one volume; its slices must form a regular stack.

    Slices are ordered by ImagePositionPatient along the slice normal; each is rescaled by its own slope and intercept.
    Files may be single-slice or multi-frame, uncompressed or in any compression with an installed codec.
    Localizers are left out where they are clearly identified.

    Args:
        series: an image series.
        fill_gaps: maximum total number of missing slices to interpolate.
        partial: whether it is known that there are fewer slices than the headers say.

    Raises:
        BadInput: a file is unreadable or truncated; the files differ in patient, study or frame of reference; few of
            them contradict the others in a tag of the whole stack; one of the checks of `check_geometry` fails; or
            slices are missing by `dicom.completeness`.
    """
    planes = _planes(series)
    stack = stack_of(planes, fill_gaps=fill_gaps)
    filled = int(stack.facts.get("slices_filled", 0))
    if not partial:
        slices = len(planes) - int(stack.facts.get("localizers_left_out", 0)) + filled
        require_complete(_opened(series), slices=slices, filled=filled)
    return stack


def check_geometry(series: Series) -> GeometryReport:
    """Run the nine geometry checks on all planes of a series, localizers included, without reading pixels.

    Raises:
        BadInput: a file is unreadable or lacks the position of its images.
    """
    return report_on(_planes(series))


def sidecar_of(series: Series) -> dict[str, Any]:
    """Return the metadata of a series from an allow-list of coded and numeric tags, without names, dates and UIDs.

    Returns:
        A flat record without absent or empty tags.
    """
    header, path = first_header(series), series.files[0]
    record: dict[str, Any] = {}
    for tag, name in SIDECAR_TAGS.items():
        if value_of(header, tag, path) is not None:
            coded = tag in CODED
            record[name] = text_of(header, tag, path) if coded else float(numbers(header, tag, 1, path)[0])
    if value_of(header, "PixelSpacing", path) is not None:
        spacing_mm = numbers(header, "PixelSpacing", 2, path)
        record["row_spacing_mm"], record["column_spacing_mm"] = spacing_mm.tolist()
    return record


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Disable the garbage collector, which took a third of the time on many small headers without cycles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _series(uid: str, files: Sequence[DicomFile]) -> Series:
    tags = ("Modality", "SeriesDescription", "FrameOfReferenceUID")
    modality, description, frame = (text_of(files[0].header, tag, files[0].path) for tag in tags)
    return Series(uid, modality, description, frame, tuple(file.path for file in files), tuple(files))


def _opened(series: Series) -> tuple[DicomFile, ...]:
    return series.opened or tuple(open_file(path) for path in series.files)


def _planes(series: Series) -> list[Plane]:
    files = _opened(series)
    require_identity(files)
    with _collector_paused():
        return [plane for file in files for plane in planes_of(file)]
