"""Image planes in the patient, one per file or one per frame of a multi-frame file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from diffufuse.dicom.decoding import UNREADABLE, DicomFile, frame_count, numbers
from diffufuse.errors import BadInput

NEEDS_RESCALE = ("CT", "PT")
LOCALIZER = "LOCALIZER"
OF_FRAME, OF_ALL = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"


@dataclass(frozen=True)
class Plane:
    """Where one image lies in the patient, and how its stored numbers become physical ones.

    Attributes:
        file: the file that holds it.
        frame: its index in that file.
        position_mm: (3,), center of its first pixel, LPS.
        cosines: (2, 3), directions of a growing column index and of a growing row index, LPS.
        spacing_mm: (2,), between rows and between columns.
        shape: rows and columns.
        slope: physical units per stored unit; None where stored numbers are all there is (MR).
        intercept: physical value of a stored 0.
        is_localizer: whether its ImageType says so.
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
        """The file, with the number of the frame where it has several, as messages call it."""
        several = frame_count(self.file) > 1
        return f"{self.file.path.name} frame {self.frame + 1}" if several else self.file.path.name

    @property
    def normal(self) -> np.ndarray:
        """(3,), direction of growing slice positions, LPS."""
        return np.cross(*self.cosines)


def planes_of(file: DicomFile) -> list[Plane]:
    """The planes of a file, in the order of its frames.

    Multi-frame files of the enhanced kind are read by their functional groups.

    Raises:
        BadInput: position, orientation, spacing, size or rescaling of a plane is missing or malformed; the frames
            belong to several stacks or times, or say nothing of their places.
    """
    header, frames = file.header, frame_count(file)
    if OF_FRAME not in header and OF_ALL not in header:
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
    """The functional groups of one frame: its own, else those shared by all."""

    file: DicomFile
    frame: int

    def item(self, sequence: str) -> pydicom.Dataset:
        """The group's one item; empty where neither the frame nor the file has it."""
        header = self.file.header
        try:
            for place, index in ((OF_FRAME, self.frame), (OF_ALL, 0)):
                if header.get(place) and header[place][index].get(sequence):
                    return header[place][index][sequence][0]
        except UNREADABLE as error:
            raise BadInput(
                f"{self.file.path}: expected functional groups for every frame, got fewer than "
                f"{frame_count(self.file)}; fetch it again."
            ) from error
        return pydicom.Dataset()

    def frame_type(self) -> pydicom.Dataset:
        """What kind of image it is, under the name that single-frame files use."""
        found = pydicom.Dataset()
        of_modality = {"CT": "CTImageFrameTypeSequence", "MR": "MRImageFrameTypeSequence", "PT": "PETFrameTypeSequence"}
        sequence = of_modality.get(str(self.file.header.get("Modality")))
        kind = self.item(sequence).get("FrameType") if sequence else None
        found.ImageType = kind or self.file.header.get("ImageType")
        return found


def _require_one_stack(groups: Sequence[_Groups], path: Path) -> None:
    for keyword, what in (("StackID", "stack"), ("TemporalPositionIndex", "time")):
        found = {str(group.item("FrameContentSequence").get(keyword) or "") for group in groups}
        if len(found) > 1:
            raise BadInput(f"{path}: expected frames of one {what}, got {len(found)}; split the file by {keyword}.")


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
    """Slope and intercept of this plane; only MR may come without."""
    if transformation.get("RescaleSlope") is None and modality not in NEEDS_RESCALE:
        return None, 0.0
    slope, intercept = (float(numbers(transformation, tag, 1, path)[0]) for tag in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise BadInput(f"{path}: expected a RescaleSlope other than 0; export it again.")
    return slope, intercept
