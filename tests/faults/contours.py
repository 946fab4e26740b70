"""Contours of one slice or one region that could be read in several ways, and regions that could be mixed up."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from diffufuse.dicom.series import find_series, read_series
from diffufuse.dicom.structures import Masks, painted
from diffufuse.phantom.dicom_headers import uid_of
from faults import Fault
from faults.structures import (
    INNER,
    INNER_VOXELS,
    KEYHOLE,
    OUTER,
    OUTER_VOXELS,
    SPACING_MM,
    C,
    Contour,
    Corners,
    altered,
    contours,
    first_contour,
    mass,
    mended,
    read,
    refused,
    write_contours,
)

VOXEL_ML = float(np.prod(SPACING_MM)) / 1000


def square(low: float, high: float, column: float | None = None) -> list[tuple[float, float]]:
    """Corners of a square of rows low to high; its columns start at `column`."""
    start = low if column is None else column
    end = start + high - low
    return [(low, start), (high, start), (high, end), (low, end)]


def shifted(corners: Corners, by: float) -> list[tuple[float, float]]:
    return [(x + by, y + by) for x, y in corners]


def scaled(corners: Corners, by: float) -> list[tuple[float, float]]:
    center = np.mean(corners, axis=0)
    return [tuple(center + by * (np.array(corner) - center)) for corner in corners]


def drawn(voxels: float, right: Callable[[Masks], bool]) -> Callable[[Masks], bool]:
    return lambda found: right(found) and np.isclose(found.facts["mass"]["drawn_ml"], voxels * VOXEL_ML, rtol=2e-3)


def in_slices(*drawn_in: tuple[int, Corners]) -> Callable[[Path], None]:
    return contours(*(Contour(corners, index) for index, corners in drawn_in))


COPIES: dict[str, list[Contour]] = {
    "point by point": [C],
    "from another corner": [Contour([*OUTER[2:], *OUTER[:2]])],
    "with its closing point": [Contour([*OUTER, OUTER[0]])],
    "shifted by 0.01 mm": [Contour(shifted(OUTER, 0.01))],
    "with one more vertex": [Contour([OUTER[0], (7.0, 1.6), *OUTER[1:]])],
    "with a corner cut by a hair": [Contour([*OUTER[:3], (1.6, 12.39), (1.61, 12.4)][:5])],
    "in reverse": [Contour(OUTER[::-1])],
    "a hair larger": [Contour(scaled(OUTER, 1.003))],
    "a hair smaller": [Contour(scaled(OUTER, 0.997))],
    "a hundredth of a slice higher": [replace(C, slice_index=3.01)],
}
READ_ONCE = [
    *(
        mended(f"contour twice, {how}", contours(C, *copy), mass(OUTER_VOXELS, contours=2, repeated=1))
        for how, copy in COPIES.items()
    ),
    mended("contour four times", contours(C, C, C, C), mass(OUTER_VOXELS, contours=4, repeated=3)),
    mended(
        "contour twice in three slices",
        in_slices(*((k, corners) for k in (2, 3, 4) for corners in (OUTER, shifted(OUTER, 0.01)))),
        mass(3 * OUTER_VOXELS, repeated=3),
    ),
    mended(
        "hole twice",
        contours(C, Contour(INNER), Contour(shifted(INNER, 0.01))),
        mass(OUTER_VOXELS - INNER_VOXELS, repeated=1),
    ),
    mended(
        "ring and hole twice",
        contours(C, Contour(INNER), Contour(INNER[::-1]), Contour(scaled(OUTER, 1.001))),
        mass(OUTER_VOXELS - INNER_VOXELS, repeated=2),
    ),
    mended(
        "keyhole twice",
        contours(KEYHOLE, Contour(shifted(KEYHOLE.corners, 0.005))),
        mass(OUTER_VOXELS - INNER_VOXELS, repeated=1),
    ),
    mended(
        "sliver along the edge that holds no voxel",
        contours(C, Contour([(1.6, 4), (1.9, 4), (1.9, 10), (1.6, 10)])),
        mass(OUTER_VOXELS, without_voxel=1),
    ),
    refused("contour twice, shifted by a third of a voxel", contours(C, Contour(shifted(OUTER, 0.3))), "two readings"),
    refused("contour twice, a third of a voxel larger", contours(C, Contour(scaled(OUTER, 1.05))), "two readings"),
    refused("whole contour beside its half", contours(C, Contour([*OUTER[:2], (12.4, 7), (1.6, 7)])), "two readings"),
    refused("one contour that runs around twice", contours(Contour([*OUTER, *OUTER])), "runs twice around"),
    refused("keyhole whose hole runs the wrong way", contours(Contour([*OUTER, OUTER[0], *INNER, INNER[0]])), "twice"),
    refused(
        "contour of type CLOSEDPLANAR_XOR twice",
        contours(replace(C, kind="CLOSEDPLANAR_XOR"), replace(C, kind="CLOSEDPLANAR_XOR")),
        "would cancel",
    ),
    refused(
        "contour of type CLOSEDPLANAR_XOR and almost the same",
        contours(replace(C, kind="CLOSEDPLANAR_XOR"), Contour(scaled(OUTER, 1.05), kind="CLOSEDPLANAR_XOR")),
        "would cancel",
    ),
    mended(
        "half of a contour taken away by type CLOSEDPLANAR_XOR",
        contours(
            replace(C, kind="CLOSEDPLANAR_XOR"),
            Contour([*OUTER[:2], (12.4, 6.6), (1.6, 6.6)], kind="CLOSEDPLANAR_XOR"),
        ),
        mass(11 * 6),
    ),
    mended(
        "contour almost wholly in another, of type CLOSEDPLANAR_XOR",
        contours(
            replace(C, kind="CLOSEDPLANAR_XOR"),
            Contour([(1.4, 4.6), (7.4, 4.6), (7.4, 7.4), (1.4, 7.4)], kind="CLOSEDPLANAR_XOR"),
        ),
        mass(OUTER_VOXELS - 6 * 3),
    ),
    refused("types mixed in a slice", contours(C, Contour(INNER, kind="CLOSEDPLANAR_XOR")), "one type in a slice"),
]

FIRST, SECOND = square(0.5, 8.5), square(4.5, 12.5)
UNIONS = [
    mended("contours that overlap in part", contours(Contour(FIRST), Contour(SECOND)), drawn(112, mass(112))),
    mended(
        "contours of type CLOSEDPLANAR_XOR that overlap in part",
        contours(*(Contour(corners, kind="CLOSEDPLANAR_XOR") for corners in (FIRST, SECOND))),
        drawn(96, mass(96)),
    ),
    mended(
        "three contours that overlap in part",
        contours(Contour(FIRST), Contour(SECOND), Contour(square(2.5, 10.5))),
        drawn(128 - 16 + 64 - 2 * 36 + 16, mass(120)),
    ),
    mended(
        "contours side by side",
        contours(Contour(square(0.5, 4.5)), Contour(square(4.5, 8.5, 0.5))),
        drawn(32, mass(32)),
    ),
    mended(
        "holes that overlap in part",
        contours(C, Contour(square(3.5, 6.5)), Contour(square(5.5, 9.5))),
        mass(OUTER_VOXELS - 9 - 16 + 1),
    ),
    mended(
        "island in a hole that overlaps another island",
        contours(
            Contour(square(0.5, 16.5)), Contour(square(2.5, 14.5)), *(Contour(square(k, k + 4)) for k in (4.5, 6.5))
        ),
        mass(256 - 144 + 28),
    ),
    refused(
        "contour across the edge of a hole",
        contours(C, Contour(square(3.5, 9.5)), Contour(square(7.5, 15.5, 7.5))),
        "crosses the edge of a hole",
    ),
]

KINDS = [
    *(
        refused(f"contour of type {kind} beside a closed one", contours(C, replace(C, slice_index=4, kind=kind)), kind)
        for kind in ("OPEN_PLANAR", "OPEN_NONPLANAR")
    ),
    refused("point of several points", contours(C, replace(C, kind="POINT")), "expected one point in a POINT, got 4"),
    refused("contour without type", first_contour(ContourGeometricType=""), "a ContourGeometricType, got none"),
    refused("contour of unknown type", first_contour(ContourGeometricType="CLOSED"), "one that DICOM does not define"),
    refused("contour without data", first_contour(ContourData=[]), "got 0 where 4 are due"),
    refused("contour of no points", first_contour(ContourData=[], NumberOfContourPoints=0), "at least 1, got 0"),
    refused("contour with fewer points than it says", first_contour(NumberOfContourPoints=5), "got 4 where 5 are due"),
    refused("contour with more points than it says", first_contour(NumberOfContourPoints=3), "got 4 where 3 are due"),
    refused("contour without number of points", first_contour(NumberOfContourPoints=None), "got 4 where 0 are due"),
    refused("contour with one number too few", first_contour(ContourData=["1"] * 11), "triples of numbers"),
    refused("contour of numbers as Python writes them", first_contour(ContourData=["1_0"] * 12), "triples of numbers"),
]


def two_rois(change: Callable[[Dataset], None]) -> Callable[[Path], None]:
    """Writes a structure set of two regions, which is then changed."""

    def make(folder: Path) -> None:
        path = write_contours(folder, [("GTV_Mass", [C]), ("GTV_Edema", [Contour(INNER)])])
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)

    return make


def image_of(dataset: Dataset, contour: int) -> Dataset:
    return dataset.ROIContourSequence[0].ContourSequence[contour].ContourImageSequence[0]


def one_number(dataset: Dataset) -> None:
    dataset.StructureSetROISequence[1].ROINumber = 1


def no_number(dataset: Dataset) -> None:
    del dataset.StructureSetROISequence[1].ROINumber


def no_reference(dataset: Dataset) -> None:
    del dataset.ROIContourSequence[1].ReferencedROINumber


def other_reference(dataset: Dataset) -> None:
    dataset.ROIContourSequence[1].ReferencedROINumber = 7


def one_reference(dataset: Dataset) -> None:
    dataset.ROIContourSequence[1].ReferencedROINumber = 1


def no_rois(dataset: Dataset) -> None:
    dataset.StructureSetROISequence = []


def no_sequences(dataset: Dataset) -> None:
    del dataset.StructureSetROISequence, dataset.ROIContourSequence


def wide_space(dataset: Dataset) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.StructureSetROISequence[0].ROIName = "GTV\u3000Mass\u00a02"


def control_character(dataset: Dataset) -> None:
    dataset.StructureSetROISequence[1].ROIName = "GTV\0Edema"


def odd_modality(dataset: Dataset) -> None:
    dataset.Modality = "RTSTRUCT\nDoe"


def undelimited(folder: Path) -> None:
    """Two contours in sequences of undefined length, where the second lost the tag that begins its item."""
    path = write_contours(folder, [("GTV_Mass", [C, replace(C, slice_index=4)])])
    dataset = pydicom.dcmread(path)
    drawn = dataset.ROIContourSequence[0]
    drawn["ContourSequence"].is_undefined_length = dataset["ROIContourSequence"].is_undefined_length = True
    for item in (drawn, *drawn.ContourSequence):
        item.is_undefined_length_sequence_item = True
    dataset.save_as(path)
    between = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(path.read_bytes().replace(between, b"", 1))


NUMBERS = [
    refused("contour whose item has lost its begin", undelimited, "expected 2 contours"),
    refused("structure set of a modality with a line break", two_rois(odd_modality), r"RTSTRUCT or SEG, got …;"),
    refused("two ROIs with one number", two_rois(one_number), "2 have 1 numbers"),
    refused("ROI without number", two_rois(no_number), "expected ROIs with an ROI number"),
    refused("contours without ROI number", two_rois(no_reference), "items of contours with an ROI number"),
    refused("contours of an ROI that is not there", two_rois(other_reference), "1 items of contours belong to none"),
    refused("two items of contours of one ROI", two_rois(one_reference), "2 have 1 numbers"),
    refused(
        "contour that names the image of another slice",
        altered(lambda dataset: setattr(image_of(dataset, 0), "ReferencedSOPInstanceUID", uid_of(uid_of("mr"), 6))),
        "lies in another slice",
    ),
    refused(
        "one of two contours that names an unknown image",
        contours(C, replace(C, slice_index=4, image="other")),
        "1 of 2 name images that are not at hand",
    ),
    mended(
        "one of two contours that names no image",
        contours(C, replace(C, slice_index=4, image=None)),
        mass(2 * OUTER_VOXELS, unreferenced=1),
    ),
    refused("structure set without ROIs", two_rois(no_sequences), "ends before", optional=("mass", "edema")),
    refused(
        "ROI name with a control character",
        two_rois(control_character),
        "ROI names in plain text",
        optional=("mass", "edema"),
    ),
    mended(
        "label whose ROI has a space as wide as a letter in its name",
        two_rois(wide_space),
        mass(OUTER_VOXELS),
        mass="^GTV Mass 2$",
    ),
    refused("contours without ROIs", two_rois(no_rois), "to none"),
    refused("contours without ROIs that must be there", two_rois(no_rois), "to none", optional=("mass", "edema")),
]

SMALL = square(2.5, 5.5)
LESIONS = [
    mended(
        "lesions of one slice, two and three slices apart",
        in_slices((0, SMALL), (3, SMALL), (7, SMALL)),
        mass(27, left_out=5),
    ),
    mended(
        "lesions of one slice at other places, all two slices apart",
        in_slices((1, SMALL), (3, shifted(SMALL, 4)), (5, shifted(SMALL, 8))),
        mass(27, left_out=0),
    ),
    mended("two lesions of one slice", in_slices((1, SMALL), (5, SMALL)), mass(18, left_out=3)),
    mended(
        "lesion with a slice left out",
        in_slices((1, OUTER), (2, OUTER), (4, OUTER)),
        mass(3 * OUTER_VOXELS, left_out=1),
    ),
    refused(
        "two lesions, contours of every second slice",
        in_slices((0, SMALL), (2, SMALL), (4, shifted(SMALL, 8)), (6, shifted(SMALL, 8))),
        "as in a coarser stack",
    ),
    refused("contours of every third slice", in_slices((0, SMALL), (3, SMALL), (6, SMALL)), "3 or more apart"),
    mended(
        "lesion without voxel center in a slice with another",
        in_slices((1, OUTER), (1, square(14.1, 14.4))),
        mass(OUTER_VOXELS, without_voxel=1),
    ),
    mended(
        "lesion without voxel center beside another",
        in_slices((1, OUTER), (2, square(3.1, 3.4))),
        mass(OUTER_VOXELS, without_voxel=1),
    ),
]


def rois(*named: tuple[str, Sequence[Contour]]) -> Callable[[Path], None]:
    return lambda folder: write_contours(folder, named) and None


PARTS = [("GTV1", [Contour(square(0.5, 8.5))]), ("GTV2", [Contour(square(4.5, 12.5))]), ("Skin", [C])]
UNITED = {"mass": {"pattern": "^GTV", "several": "union"}}
JOINED = [
    mended("several ROIs of one label", rois(*PARTS), drawn(128, mass(112, rois=2, empty_rois=0)), **UNITED),
    mended("one ROI where several may be", rois(*PARTS[1:]), mass(64, rois=1), **UNITED),
    mended("several ROIs, one empty", rois(PARTS[0], ("GTV3", ())), mass(64, rois=2, empty_rois=1), **UNITED),
    refused("several ROIs, all empty", rois(("GTV1", ()), ("GTV2", ())), "GTV1: expected closed planar", **UNITED),
    refused(
        "no ROI where several may be", rois(PARTS[2]), "at least one ROI that matches '.GTV', but 0 of 1", **UNITED
    ),
    mended(
        "no ROI where several may be or none",
        rois(PARTS[2]),
        lambda found: not found.masks and found.facts == {"rois_left_over": 1},
        **UNITED,
        optional=("mass",),
    ),
    refused(
        "several ROIs that nobody joins", rois(*PARTS), r"join them by .pattern: '.GTV', several: union", mass="^GTV"
    ),
    refused(
        "several ROIs, one of another label",
        rois(*PARTS),
        "two labels' patterns match the same",
        edema="GTV1",
        **UNITED,
    ),
    refused(
        "several ROIs, one around no voxel center",
        rois(PARTS[0], ("GTV2", [Contour(square(3.1, 3.4))])),
        "GTV2: expected contours around at least one voxel center",
        **UNITED,
    ),
]


def painting(*order: str, optional: Sequence[str] = ()) -> Callable[[Path], object]:
    def reading(folder: Path) -> object:
        (image,) = find_series(folder / "MR")
        masks = read(folder, optional=()).masks
        chosen = {label: masks[label] for label in order}
        return painted(chosen, {"mass": 1, "edema": 2}, read_series(image), folder, optional=optional)

    return reading


RING_AND_CORE = rois(("GTV_Mass", [Contour(INNER)]), ("GTV_Edema", [C]))
PAINTED = [
    Fault(
        "structures: optional label wholly under a later one",
        RING_AND_CORE,
        painting("mass", "edema", optional=["mass"]),
        right=lambda labels: set(np.unique(labels.array).tolist()) == {0, 2},
    ),
    Fault("structures: label wholly under a later one", RING_AND_CORE, painting("mass", "edema"), "lie on all of mass"),
    Fault(
        "structures: label in part under a later one",
        RING_AND_CORE,
        painting("edema", "mass"),
        right=lambda volume: np.bincount(volume.array.ravel())[1:].tolist() == [9, OUTER_VOXELS - 9],
    ),
]

FAULTS = PAINTED + READ_ONCE + UNIONS + KINDS + NUMBERS + LESIONS + JOINED
