"""Segmentations that contradict themselves, and labels that consist of several segments."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from faults.structures import SHAPE, block, mass, mended, refused, same, segments, write_segments

TWO = {"GTV_Mass": block(z=slice(2, 4)), "GTV_Edema": block(z=slice(4, 6))}


def frame_of(dataset: Dataset, number: int, sequence: str) -> Dataset:
    return dataset.PerFrameFunctionalGroupsSequence[number][sequence][0]


def segment_set(number: int, keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset.SegmentSequence[number], keyword, value)


def frame_set(number: int, segment: int) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        frame_of(dataset, number, "SegmentIdentificationSequence").ReferencedSegmentNumber = segment

    return change


def header_set(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset, keyword, value)


def written(change: Callable[[Dataset], None], **options: object) -> Callable[[Path], None]:
    """Writes two segments without common slices, then changes the file as any program might."""

    def make(folder: Path) -> None:
        path = write_segments(folder, options.get("masks", TWO), **{k: v for k, v in options.items() if k != "masks"})
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)

    return make


def one_frame_aside(dataset: Dataset) -> None:
    place = frame_of(dataset, 1, "PlanePositionSequence")
    place.ImagePositionPatient = [float(place.ImagePositionPatient[0]) + 1, *place.ImagePositionPatient[1:]]


def no_plane_spacing(dataset: Dataset) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0, 1]


def one_frame_more(dataset: Dataset) -> None:
    dataset.NumberOfFrames += 1


def one_frame_less(dataset: Dataset) -> None:
    dataset.NumberOfFrames -= 1


def copied_empty(dataset: Dataset) -> None:
    """A second frame in the first slice, with nothing in it."""
    frames = list(dataset.PerFrameFunctionalGroupsSequence)
    dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence([*frames, frames[0]])
    pixels = np.concatenate([dataset.pixel_array, np.zeros((1, *SHAPE[1::-1]), np.uint8)])
    dataset.PixelData = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    dataset.NumberOfFrames += 1


def labelmap(value: int) -> Callable[[Path], None]:
    def change(dataset: Dataset) -> None:
        pixels = dataset.pixel_array.copy()
        pixels[0, 0, 0] = value
        dataset.PixelData = pixels.tobytes()

    return written(change, kind="LABELMAP")


CONTRADICTIONS = [
    refused("two segments of one number", written(segment_set(1, "SegmentNumber", 1)), "1 numbers of 2 segments"),
    refused(
        "segment label with a control character",
        written(segment_set(1, "SegmentLabel", "GTV\0Edema")),
        "segment labels in plain text",
        optional=("mass", "edema"),
    ),
    mended(
        "segment label with a wide space",
        written(segment_set(0, "SegmentLabel", "GTV_Mass\u00a01")),
        lambda found: "mass" in found.masks,
    ),
    refused("segment without number", written(segment_set(1, "SegmentNumber", None)), "a whole DICOM segmentation"),
    refused("frame of a segment that is not there", written(frame_set(1, 7)), "but 1 others are in it"),
    refused("frame of another segment than its index says", written(frame_set(1, 2)), "contradict each other"),
    refused("frame of several segments", written(frame_set(1, [1, 2])), "a whole DICOM segmentation"),
    refused("frame more than there are", written(one_frame_more), "each of 5 frames, got 4"),
    refused("frame less than there are", written(one_frame_less), "each of 3 frames, got 4"),
    refused("frame twice, once empty", written(copied_empty), "one frame in each slice"),
    refused("one frame aside of the others", written(one_frame_aside), "straight above each other"),
    refused("pixels without extent", written(no_plane_spacing), "a whole DICOM segmentation"),
    refused("segmentation of unknown type", written(header_set("SegmentationType", "SHAPES")), "a SegmentationType of"),
    refused("segmentation of no type", written(header_set("SegmentationType", None)), "a SegmentationType of"),
    refused("bits of another type", written(header_set("SegmentationType", "FRACTIONAL")), "in BINARY segments alone"),
    refused("segmentation of more rows than it has", written(header_set("Rows", 30)), "expected 300 bytes of pixels"),
    refused(
        "fractional segment without maximum",
        written(header_set("MaximumFractionalValue", None), masks={"GTV_Mass": block() * 1.0}, kind="FRACTIONAL"),
        "a whole DICOM segmentation",
    ),
    refused("label map with a value that no segment has", labelmap(7), "but 1 others are in it"),
    mended("label map with values of its segments", labelmap(0), lambda found: set(found.masks) == {"mass", "edema"}),
    refused("segmentation without segments", written(header_set("SegmentSequence", [])), "0 numbers of 0 segments"),
]

APART = block(z=slice(0, 1)) | block(z=slice(3, 4)) | block(z=slice(7, 8))
ELSEWHERE = (
    block(x=slice(0, 3), z=slice(1, 2)) | block(x=slice(4, 7), z=slice(3, 4)) | block(x=slice(9, 12), z=slice(5, 6))
)
MANY = {f"lesion {k}": block(x=slice(2 * k, 2 * k + 2)) for k in range(10)}
JOINED = {"mass": {"pattern": "^(GTV|lesion)", "several": "union"}}
LESIONS = [
    mended("segment of one slice each, two and three slices apart", segments(masks={"GTV_Mass": APART}), same(APART)),
    mended("segment of every second slice, but elsewhere", segments(masks={"GTV_Mass": ELSEWHERE}), same(ELSEWHERE)),
    mended("segments side by side of one label", segments(masks=TWO), same(block()), **JOINED),
    mended("ten segments of one label", segments(masks=MANY), same(block(x=slice(20))), **JOINED),
    mended("ten segments of one label, counted", segments(masks=MANY), mass(20 * 5 * 4, rois=10), **JOINED),
    mended(
        "segments that overlap, of one label",
        segments(masks={"GTV1": block(), "GTV2": block(z=slice(1, 7))}),
        mass(7 * 5 * 6, rois=2, frames=10),
        **JOINED,
    ),
    mended(
        "several segments, one empty",
        segments(masks={"GTV1": block(), "GTV2": block(z=slice(0))}),
        mass(7 * 5 * 4, rois=2, empty_rois=1),
        **JOINED,
    ),
    refused("several segments that nobody joins", segments(masks=TWO), "2 of 2 do .*several: union", mass="^GTV"),
]

FAULTS = CONTRADICTIONS + LESIONS
