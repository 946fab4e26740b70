"""Image planes in patient coordinates, one per file or per frame of a multi-frame file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from diffufuse.dicom.decoding import UNREADABLE, DicomFile, frame_count, numbers
from diffufuse.errors import BadInput

NEEDS_RESCALE = ("CT", "PT")
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
    if PER_FRAME not in header and SHARED not in header:
        if frames > 1:
            raise BadInput(f"{file.path}: expected a place for each frame, got {frames} without; export single slices.")
        return [_plane(file, 0, header, header, header, header, header)]
    groups = [_Groups(file, frame) for frame in range(frames)]
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
    """The functional groups of one frame: per-frame, else shared."""

    file: DicomFile
    frame: int

    def item(self, sequence: str) -> pydicom.Dataset:
        """The first item of a functional group; empty where it is neither per-frame nor shared."""
        header = self.file.header
        try:
            for groups, index in ((PER_FRAME, self.frame), (SHARED, 0)):
                if header.get(groups) and header[groups][index].get(sequence):
                    return header[groups][index][sequence][0]
        except UNREADABLE as error:
            raise BadInput(
                f"{self.file.path}: expected functional groups for every frame, got fewer than "
                f"{frame_count(self.file)}; fetch it again."
            ) from error
        return pydicom.Dataset()

    def frame_type(self) -> pydicom.Dataset:
        """A dataset with the frame's ImageType, as in single-frame files."""
        dataset = pydicom.Dataset()
        of_modality = {"CT": "CTImageFrameTypeSequence", "MR": "MRImageFrameTypeSequence", "PT": "PETFrameTypeSequence"}
        sequence = of_modality.get(str(self.file.header.get("Modality")))
        kind = self.item(sequence).get("FrameType") if sequence else None
        dataset.ImageType = kind or self.file.header.get("ImageType")
        return dataset


def _require_one_stack(groups: Sequence[_Groups], path: Path) -> None:
    for keyword, noun in (("StackID", "stack"), ("TemporalPositionIndex", "time")):
        values = {str(group.item("FrameContentSequence").get(keyword) or "") for group in groups}
        if len(values) > 1:
            raise BadInput(f"{path}: expected frames of one {noun}, got {len(values)}; split the file by {keyword}.")


def _plane(
    file: DicomFile,
    frame: int,
    position: pydicom.Dataset,
    orientation: pydicom.Dataset,
    measures: pydicom.Dataset,
    transformation: pydicom.Dataset,
    kind: pydicom.Dataset,
) -> Plane:
    header, path = file.header, file.path
    rows, columns = (int(numbers(header, keyword, 1, path)[0]) for keyword in ("Rows", "Columns"))
    slope, intercept = _rescale(transformation, str(header.get("Modality")), path)
    cosines = numbers(orientation, "ImageOrientationPatient", 6, path).reshape(2, 3)
    spacing_mm = numbers(measures, "PixelSpacing", 2, path)
    if spacing_mm.min() <= 0:
        raise BadInput(f"{path}: expected positive spacing, got {spacing_mm.tolist()} mm; export it again.")
    return Plane(
        file=file,
        frame=frame,
        position_mm=numbers(position, "ImagePositionPatient", 3, path),
        cosines=cosines,
        spacing_mm=spacing_mm,
        shape=(rows, columns),
        slope=slope,
        intercept=intercept,
        is_localizer=LOCALIZER in np.atleast_1d(kind.get("ImageType") or ""),
    )


def _rescale(transformation: pydicom.Dataset, modality: str, path: Path) -> tuple[float | None, float]:
    """Return slope and intercept of a plane; only MR may lack them."""
    if transformation.get("RescaleSlope") is None and modality not in NEEDS_RESCALE:
        return None, 0.0
    slope, intercept = (float(numbers(transformation, tag, 1, path)[0]) for tag in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise BadInput(f"{path}: expected a RescaleSlope other than 0; export it again.")
    return slope, intercept
