"""The frames of a DICOM segmentation: their segments and places, and whether the file agrees with itself."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from highdicom.seg import Segmentation

from diffufuse.dicom.elements import refusing
from diffufuse.dicom.stack import ras_from_lps
from diffufuse.errors import BadInput

KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
SEGMENT_POINTER = 0x0062000B  # ReferencedSegmentNumber
SAME_PLACE = 0.1  # of a pixel
KIND = "segmentation"


def segment_numbers(file: Segmentation, path: Path) -> list[int]:
    """Return the number of each segment, in file order.

    Raises:
        BadInput: there is no segment, one has no number, or two have the same.
    """
    with refusing(path, KIND):
        numbers = [int(item.SegmentNumber) for item in file.SegmentSequence]
    if not numbers or len(set(numbers)) < len(numbers):
        raise BadInput(
            f"{path}: expected segments with a number each of its own, got {len(set(numbers))} numbers of "
            f"{len(numbers)} segments; export it again."
        )
    return numbers


def frame_segments(file: Segmentation, path: Path) -> list[int]:
    """Return the segment number of each frame; none of a label map, every frame of which holds all segments.

    Raises:
        BadInput: the file has fewer or more frames than it says, a frame is of a segment that the file does not
            describe, or its two statements on that differ.
    """
    numbers = segment_numbers(file, path)
    with refusing(path, KIND):
        count, described = int(file.NumberOfFrames), len(file.PerFrameFunctionalGroupsSequence)
    if count != described or count < 1:
        raise BadInput(f"{path}: expected a place for each of {count} frames, got {described}; export it again.")
    _require_kind_and_pixels(file, path, count)
    if str(file.SegmentationType) == "LABELMAP":
        _require_described(_values(file, path) - _background(file), numbers, path)
        return []
    with refusing(path, KIND):
        segments = [
            int(group(file, frame, "SegmentIdentificationSequence").ReferencedSegmentNumber) for frame in range(count)
        ]
        indices = _dimension_indices(file, count)
    _require_described(set(segments), numbers, path)
    pairs = set(zip(segments, indices, strict=True)) if indices else set()
    if len(pairs) > min(len({segment for segment, _ in pairs}), len({index for _, index in pairs})):
        raise BadInput(
            f"{path}: expected frames whose DimensionIndexValues agree with their segment, but they contradict each "
            "other; export it again."
        )
    return segments


def planes_of(file: Segmentation, path: Path) -> list[np.ndarray]:
    """Return the (4, 4) matrix from pixel index (column, row, 0) to RAS coordinate, mm, of each frame.

    Raises:
        BadInput: a frame has no place, or the frames are not straight above each other.
    """
    with refusing(path, KIND):
        planes = [_plane(file, frame) for frame in range(int(file.NumberOfFrames))]
    to_first = np.linalg.inv(planes[0])
    beside = max(np.abs((to_first @ plane - np.eye(4))[np.ix_([0, 1, 2], [0, 1])]).max() for plane in planes)
    aside = max(np.abs((to_first @ plane)[:2, 3]).max() for plane in planes)
    rows, columns = int(file.Rows), int(file.Columns)
    if beside * max(rows, columns) > SAME_PLACE or aside > SAME_PLACE:
        raise BadInput(
            f"{path}: expected frames of one stack, straight above each other, but they differ in place, direction or "
            "pixel size; export it again."
        )
    return planes


def group(file: Segmentation, frame: int, sequence: str) -> pydicom.Dataset:
    """Return a functional group of a frame: per-frame, else shared."""
    own, shared = file.PerFrameFunctionalGroupsSequence[frame], file.SharedFunctionalGroupsSequence[0]
    return (own if sequence in own else shared)[sequence][0]


def _plane(file: Segmentation, frame: int) -> np.ndarray:
    position = group(file, frame, "PlanePositionSequence").ImagePositionPatient
    cosines = group(file, frame, "PlaneOrientationSequence").ImageOrientationPatient
    row_mm, column_mm = group(file, frame, "PixelMeasuresSequence").PixelSpacing
    along = np.array(cosines, float).reshape(2, 3) * [[column_mm], [row_mm]]
    plane = np.eye(4)
    plane[:3] = ras_from_lps(np.array([*along, np.cross(*along), np.array(position, float)])).T
    if not np.isfinite(plane).all() or abs(np.linalg.det(plane)) < np.finfo(float).eps:
        raise ValueError("a frame without extent")
    return plane


def _require_kind_and_pixels(file: Segmentation, path: Path, frames: int) -> None:
    """Raise for an unknown type, or for uncompressed pixels that are fewer or more than the frames need."""
    with refusing(path, KIND):
        kind, bits = str(file.get("SegmentationType") or ""), int(file.BitsAllocated)
        pixels = frames * int(file.Rows) * int(file.Columns)
        compressed = file.file_meta.TransferSyntaxUID.is_encapsulated
        held = len(file.PixelData)
    if kind not in KINDS:
        raise BadInput(f"{path}: expected a SegmentationType of {', '.join(KINDS)}, got another; export it again.")
    if bits == 1 and kind != "BINARY":
        raise BadInput(
            f"{path}: expected 1 bit per pixel in BINARY segments alone, got {kind} ones of 1 bit; export it again."
        )
    due = -(-pixels * bits // 8)
    if not compressed and held not in (due, due + due % 2):
        raise BadInput(f"{path}: expected {due} bytes of pixels for {frames} frames, got {held}; fetch it again.")


def _values(file: Segmentation, path: Path) -> set[int]:
    with refusing(path, KIND):
        return set(map(int, np.unique(file.get_stored_frames())))


def _background(file: Segmentation) -> set[int]:
    return {int(file.get("PixelPaddingValue") or 0)}


def _require_described(used: set[int], numbers: Sequence[int], path: Path) -> None:
    lost = used - set(numbers)
    if lost:
        raise BadInput(
            f"{path}: expected frames of the {len(numbers)} segments that the file describes, but {len(lost)} others "
            "are in it; export it again."
        )


def _dimension_indices(file: Segmentation, frames: int) -> list[int]:
    """Return the index of each frame along the dimension that counts segments; none if there is none."""
    pointers = [int(item.DimensionIndexPointer) for item in file.get("DimensionIndexSequence") or []]
    if SEGMENT_POINTER not in pointers:
        return []
    position, indices = pointers.index(SEGMENT_POINTER), []
    for frame in range(frames):
        values = group(file, frame, "FrameContentSequence").DimensionIndexValues
        indices.append(int(values[position] if len(pointers) > 1 else values))
    return indices
