"""Image planes in patient coordinates, one per file or per frame of a multi-frame file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from diffufuse.dicom.decoding import DicomFile, frame_count
from diffufuse.dicom.elements import items_of, numbers, text_of, value_of, whole_number
from diffufuse.errors import BadInput

FARTHEST_MM = 1e5
LARGEST_COSINE = 2.0
LARGEST_VALUE = 1e20  # times the largest stored number still is a number of single precision
NEEDS_RESCALE = ("CT", "PT")
# What PS3.3 C.11.1.1.2 names beside HU and US (not specified): optical density, mg/ml, atomic number, electron
# densities, percent. HU_MOD are modified Hounsfield units.
OTHER_THAN_HU = ("OD", "MGML", "Z_EFF", "ED", "EDW", "PCT")
LOCALIZER = "LOCALIZER"
PER_FRAME, SHARED = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"


@dataclass(frozen=True)
class Plane:
    """The position of one image in the patient, and its rescaling to physical values.

    Attributes:
        file: the file that contains it.
        frame: frame index in that file.
        position_mm: (3,), center of its first pixel, LPS.
        cosines: (2, 3), directions of a growing column index and of a growing row index, LPS.
        spacing_mm: (2,), between rows and between columns.
        shape: rows and columns.
        slope: physical units per stored unit; None where there is no rescaling (MR).
        intercept: physical value of a stored 0.
        is_localizer: whether its ImageType contains LOCALIZER.
    """

    file: DicomFile
    frame: int
    position_mm: np.ndarray
    cosines: np.ndarray
    spacing_mm: np.ndarray
    shape: tuple[int, int]
    slope: float | None
    intercept: float
    is_localizer: bool

    @property
    def name(self) -> str:
        """The file name, with the frame number of a multi-frame file, for messages."""
        several = frame_count(self.file) > 1
        return f"{self.file.path.name} frame {self.frame + 1}" if several else self.file.path.name

    @property
    def normal(self) -> np.ndarray:
        """(3,), direction of growing slice positions, LPS."""
        return np.cross(*self.cosines)


def planes_of(file: DicomFile) -> list[Plane]:
    """Return the planes of a file, in the order of its frames.

    Enhanced multi-frame files are read by their functional groups.

    Raises:
        BadInput: position, orientation, spacing, size or rescaling of a plane is missing or malformed, or the frames
            belong to several stacks or times.
    """
    header, frames = file.header, frame_count(file)
    described, shared = (items_of(header, keyword, file.path) for keyword in (PER_FRAME, SHARED))
    if not described and frames > 1:
        raise BadInput(f"{file.path}: expected a place for each frame, got {frames} without; export single slices.")
    if not described and not shared:
        return [_plane(file, 0, header, header, header, header, text_of(header, "ImageType", file.path))]
    if described and len(described) != frames:
        raise BadInput(
            f"{file.path}: expected functional groups for every frame, got {len(described)} for {frames} frames; fetch "
            "it again."
        )
    groups = [_Groups(file, [*described[frame : frame + 1], *shared[:1]]) for frame in range(frames)]
    _require_one_stack(groups, file.path)
    return [
        _plane(
            file,
            frame,
            group.item("PlanePositionSequence"),
            group.item("PlaneOrientationSequence"),
            group.item("PixelMeasuresSequence"),
            group.item("PixelValueTransformationSequence"),
            group.frame_type(),
        )
        for frame, group in enumerate(groups)
    ]


@dataclass(frozen=True)
class _Groups:
    """The functional groups of one frame: its own, if there are any, then the shared ones."""

    file: DicomFile
    items: Sequence[pydicom.Dataset]

    def item(self, sequence: str) -> pydicom.Dataset:
        """The first item of a functional group; empty where it is neither per-frame nor shared."""
        for item in self.items:
            for first in items_of(item, sequence, self.file.path):
                return first
        return pydicom.Dataset()

    def frame_type(self) -> str:
        """The text of the frame's type, as ImageType is in single-frame files."""
        header, path = self.file.header, self.file.path
        of_modality = {"CT": "CTImageFrameTypeSequence", "MR": "MRImageFrameTypeSequence", "PT": "PETFrameTypeSequence"}
        sequence = of_modality.get(text_of(header, "Modality", path))
        kind = text_of(self.item(sequence), "FrameType", path) if sequence else ""
        return kind or text_of(header, "ImageType", path)


def _require_one_stack(groups: Sequence[_Groups], path: Path) -> None:
    for keyword, noun in (("StackID", "stack"), ("TemporalPositionIndex", "time")):
        values = {text_of(group.item("FrameContentSequence"), keyword, path) for group in groups}
        if len(values) > 1:
            raise BadInput(f"{path}: expected frames of one {noun}, got {len(values)}; split the file by {keyword}.")


def _plane(
    file: DicomFile,
    frame: int,
    position: pydicom.Dataset,
    orientation: pydicom.Dataset,
    measures: pydicom.Dataset,
    transformation: pydicom.Dataset,
    kind: str,
) -> Plane:
    header, path = file.header, file.path
    rows, columns = (whole_number(header, keyword, path, least=1) for keyword in ("Rows", "Columns"))
    slope, intercept = _rescale(transformation, text_of(header, "Modality", path), path)
    cosines = numbers(orientation, "ImageOrientationPatient", 6, path).reshape(2, 3)
    if np.abs(cosines).max() > LARGEST_COSINE:
        raise BadInput(f"{path}: expected unit directions, got {cosines.tolist()}; export it again.")
    spacing_mm = numbers(measures, "PixelSpacing", 2, path)
    if not 0 < spacing_mm.min() <= spacing_mm.max() < FARTHEST_MM:
        raise BadInput(f"{path}: expected positive spacing, got {spacing_mm.tolist()} mm; export it again.")
    position_mm = numbers(position, "ImagePositionPatient", 3, path)
    if np.abs(position_mm).max() > FARTHEST_MM:
        raise BadInput(f"{path}: expected a slice near the scanner, got it at {position_mm.tolist()} mm; correct it.")
    return Plane(
        file=file,
        frame=frame,
        position_mm=position_mm,
        cosines=cosines,
        spacing_mm=spacing_mm,
        shape=(rows, columns),
        slope=slope,
        intercept=intercept,
        is_localizer=LOCALIZER in kind.split("\\"),
    )


def _rescale(transformation: pydicom.Dataset, modality: str, path: Path) -> tuple[float | None, float]:
    """Return slope and intercept of a plane; only MR may lack them."""
    unit = text_of(transformation, "RescaleType", path).strip().upper()
    if modality == "CT" and unit in OTHER_THAN_HU:
        raise BadInput(f"{path}: expected a CT in Hounsfield units, got RescaleType {unit}; choose another series.")
    if items_of(transformation, "ModalityLUTSequence", path):
        raise BadInput(f"{path}: expected values by slope and intercept, got a table of them; export it again.")
    tags = "RescaleSlope", "RescaleIntercept"
    if modality not in NEEDS_RESCALE and all(value_of(transformation, tag, path) is None for tag in tags):
        return None, 0.0
    slope, intercept = (float(numbers(transformation, tag, 1, path)[0]) for tag in tags)
    if slope == 0:
        raise BadInput(f"{path}: expected a RescaleSlope other than 0; export it again.")
    if not (0 < slope < LARGEST_VALUE and abs(intercept) < LARGEST_VALUE):
        raise BadInput(
            f"{path}: expected a plausible rescaling, got slope {slope:g}, intercept {intercept:g}; correct it."
        )
    return slope, intercept
