"""Folders of a case in which something is another person's, another examination's, or in another frame."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from diffufuse.dicom.belonging import require_drawn_on
from diffufuse.dicom.series import find_series
from diffufuse.ingest.formats import dicom
from diffufuse.phantom.dicom_headers import Person, Polygon, SeriesHeader, uid_of
from diffufuse.phantom.dicom_writing import write_ct, write_mr, write_structures
from diffufuse.space.volumes import Volume
from faults import Fault
from faults.geometry import NO_ID, PLANTED

LONGEST_DECIMAL_STRING = 2**16 - 2  # bytes, in explicit little endian
SHAPE, SPACING_MM = (8, 7, 5), (-2.0, -2.0, 3.0)
MR = {"repetition_ms": 550, "echo_ms": 12, "fat_saturated": False, "thickness_mm": 3.0}
START = datetime(2001, 2, 3, 11)
BLOCK: dict[str, Any] = {
    "reference": "t1",
    "modalities": {
        "ct": {"kind": "ct", "series": [{"Modality": "^CT$"}]},
        "t1": {"kind": "mr", "series": [{"Modality": "^MR$", "SeriesDescription": "^t1$"}]},
        "t2": {"kind": "mr", "series": [{"Modality": "^MR$", "SeriesDescription": "^t2$"}], "follows": "t1"},
    },
    "annotation": {"drawn_on": "t1", "series": [{"Modality": "^RTSTRUCT$"}], "rois": {"mass": "^mass$"}},
    "labels": {"mass": 1},
}


def header_of(name: str, study: str, number: int) -> SeriesHeader:
    person = Person("PH-1", "Planted^Name", datetime(1950, 2, 3), "F", 70.0, 1.7)
    uids = uid_of("study", study), uid_of("series", name), uid_of("frame", study)
    return SeriesHeader(person, *uids, number, name, START, START)


def write_case(folder: Path) -> None:
    """A CT of one visit, T1 and T2 of another, and a mass drawn on the T1."""
    values = np.random.default_rng(0).uniform(0, 2000, SHAPE).astype(np.float32)
    image, place = Volume(values, np.diag([*SPACING_MM, 1.0])), folder / "C-1"
    write_ct(image, place / "CT", header_of("ct", "petct", 1))
    t1 = write_mr(image, place / "T1", header_of("t1", "mr", 2), **MR)
    write_mr(image, place / "T2", header_of("t2", "mr", 3), **MR)
    square = np.array([[-2, -2], [-10, -2], [-10, -8], [-2, -8]], float)
    polygons = [Polygon(k, np.column_stack([square, np.full(4, 3.0 * k)])) for k in (1, 2, 3)]
    write_structures({"mass": polygons}, place / "RT" / "1.dcm", header_of("rt", "mr", 4), drawn_on=t1)


def case_with(*edits: tuple[str, Mapping[str, Any] | Callable[[Dataset], None]]) -> Callable[[Path], None]:
    """Writes the case with tags changed in all files of some of its folders; None empties a tag."""

    def make(folder: Path) -> None:
        write_case(folder)
        for name, change in edits:
            for path in (folder / "C-1" / name).iterdir():
                header = dcmread(path)
                if callable(change):
                    change(header)
                else:
                    for keyword, value in change.items():
                        setattr(header, keyword, value)
                header.save_as(path)

    return make


def block_with(reference: str = "t1", annotation: Mapping[str, Any] | None = None, **modalities: Any) -> dict[str, Any]:
    """The block with other settings of some modalities and of the annotation."""
    changed = {name: {**settings, **modalities.get(name, {})} for name, settings in BLOCK["modalities"].items()}
    return {
        **BLOCK,
        "reference": reference,
        "modalities": changed,
        "annotation": {**BLOCK["annotation"], **(annotation or {})},
    }


def reading(block: Mapping[str, Any] = BLOCK) -> Callable[[Path], np.ndarray]:
    """Reads all images and the labels of the case."""

    def read(folder: Path) -> np.ndarray:
        case = dicom.open_case(folder, "C-1", block)
        images = {name: case.read_image(name) for name in block["modalities"]}
        return case.read_labels(images[block["reference"]][0])[0].array

    return read


def all_labels(labels: object) -> bool:
    return np.count_nonzero(labels) == 3 * 4 * 3


def without_references(header: Dataset) -> None:
    del header.ReferencedFrameOfReferenceSequence


def of_another_series(header: Dataset) -> None:
    (study,) = header.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence
    study.RTReferencedSeriesSequence[0].SeriesInstanceUID = PLANTED


def of_another_study(header: Dataset) -> None:
    header.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].ReferencedSOPInstanceUID = PLANTED


def finely_drawn(header: Dataset) -> None:
    """Makes a contour longer than a decimal string in explicit little endian can be, so that it is stored as UN."""
    contour = header.ROIContourSequence[0].ContourSequence[0]
    corners = np.array(contour.ContourData, float).reshape(-1, 3)
    share = np.linspace(0, 1, LONGEST_DECIMAL_STRING // 100, endpoint=False)[:, None]
    points = np.concatenate([a + (b - a) * share for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)])
    contour.NumberOfContourPoints = len(points)
    data = "\\".join(f"{part:.6f}" for part in points.ravel()).encode()
    contour.add_new("ContourData", "UN", data + b" " * (len(data) % 2))


OTHER, ELSEWHERE = {"PatientID": PLANTED}, {"StudyInstanceUID": PLANTED}
FRAME, NO_FRAME = {"FrameOfReferenceUID": PLANTED}, {"FrameOfReferenceUID": None}
SESSION = {"StudyInstanceUID": uid_of("study", "mr"), "FrameOfReferenceUID": uid_of("frame", "mr")}
ALIGNED = block_with(t2={"aligned": "Registered by the publisher."})
OWN_STUDY = block_with(annotation={"other_study": "Our planning system files them apart."})
CT_IS_REFERENCE = block_with("ct")

REFUSED: dict[str, tuple[Callable[[Path], None], dict[str, Any], str]] = {
    "a CT of another patient": (case_with(("CT", OTHER)), BLOCK, "CT 'ct' of 5 files .*MR 't1' of .*one patient"),
    "a structure set of another patient": (case_with(("RT", OTHER)), BLOCK, "RTSTRUCT .*of one patient"),
    "a CT of another person of the same PatientID": (case_with(("CT", {"PatientSex": "M"})), BLOCK, "of one patient"),
    "a structure set of another person, by date of birth": (
        case_with(("RT", {"PatientBirthDate": "19610203"})),
        BLOCK,
        "of one patient",
    ),
    "a CT of another study without a PatientID": (case_with(("CT", {"PatientID": None})), BLOCK, "missing in one"),
    "one PatientID of two issuers": (
        case_with(*((name, {"IssuerOfPatientID": name}) for name in ("CT", "T1", "T2", "RT"))),
        BLOCK,
        "of one patient",
    ),
    "a T2 of another study in the frame of the T1": (case_with(("T2", ELSEWHERE)), BLOCK, "t1 and t2, .*one study"),
    "a CT of another study in the frame of the T1": (
        case_with(("CT", {"FrameOfReferenceUID": uid_of("frame", "mr")})),
        BLOCK,
        "ct and t1, .*one study",
    ),
    "a structure set of another study in the frame of the T1": (
        case_with(("RT", ELSEWHERE)),
        BLOCK,
        "the study of t1, got it in another; .*`annotation.other_study`",
    ),
    "a structure set of another study that refers to nothing": (
        case_with(("RT", ELSEWHERE), ("RT", without_references)),
        BLOCK,
        "the study of t1",
    ),
    "a structure set that refers to another series": (
        case_with(("RT", of_another_series)),
        OWN_STUDY,
        "annotation of t1, but it refers to another series; set `drawn_on`",
    ),
    "a structure set that refers to another study": (case_with(("RT", of_another_study)), BLOCK, "the study of t1"),
    "contours drawn on another modality of the frame": (
        case_with(),
        block_with(annotation={"drawn_on": "t2"}),
        "annotation of t2, but it refers to another series",
    ),
    "contours drawn on T1 while CT is the reference": (
        case_with(),
        CT_IS_REFERENCE,
        "contours in the frame of the reference ct, but t1, .*set `reference` to t1",
    ),
    "contours drawn on T1 while CT is the reference, and neither names a frame": (
        case_with(("CT", NO_FRAME), ("T1", NO_FRAME), ("T2", NO_FRAME)),
        block_with("ct", t2={"aligned": "One session."}),
        "contours in the frame of the reference ct",
    ),
    "what follows lies in another frame": (
        case_with(("T2", FRAME)),
        BLOCK,
        "t2, which follows t1, .* another or none; let t2 follow none, .*`aligned`",
    ),
    "what follows lies in another frame of another study": (
        case_with(("T2", FRAME | ELSEWHERE)),
        BLOCK,
        "t2, which follows t1",
    ),
    "what follows names no frame": (case_with(("T2", NO_FRAME)), BLOCK, "t2, which follows t1"),
    "neither what follows nor what it follows names a frame": (
        case_with(("T1", NO_FRAME), ("T2", NO_FRAME)),
        BLOCK,
        "t2, which follows t1",
    ),
}

READ: dict[str, tuple[Callable[[Path], None], dict[str, Any]]] = {
    "PET/CT and MR are two visits of one patient": (case_with(), BLOCK),
    "no series has a PatientID": (
        case_with(*((name, {"PatientID": None}) for name in ("CT", "T1", "T2", "RT"))),
        BLOCK,
    ),
    "a structure set without the issuer of its PatientID": (
        case_with(*((name, {"IssuerOfPatientID": "hospital"}) for name in ("CT", "T1", "T2"))),
        BLOCK,
    ),
    "a structure set without a PatientID in the study of its image": (case_with(("RT", {"PatientID": None})), BLOCK),
    "a structure set that refers to nothing, in the study of its image": (case_with(("RT", without_references)), BLOCK),
    "a structure set in a study of its own, which the block says": (case_with(("RT", ELSEWHERE)), OWN_STUDY),
    "a structure set that names its image in another study, which the block says": (
        case_with(("RT", of_another_study)),
        OWN_STUDY,
    ),
    "what follows lies in another frame, and the block says how it is aligned": (case_with(("T2", FRAME)), ALIGNED),
    "a T2 of another study in one frame, and the block says how it is aligned": (case_with(("T2", ELSEWHERE)), ALIGNED),
    "a sex that is not known, and a date of birth of zeros": (
        case_with(("CT", {"PatientSex": "U"}), ("RT", {"PatientSex": "N", "PatientBirthDate": "00000000"})),
        BLOCK,
    ),
    "a contour of more bytes than a decimal string holds": (case_with(("RT", finely_drawn)), BLOCK),
    "contours on T1 of one study and frame with the reference CT": (case_with(("CT", SESSION)), CT_IS_REFERENCE),
}


def write_segmentation(folder: Path, *, refers_to: str) -> None:
    """The case, and the header of a segmentation that names one series as its source."""
    write_case(folder)
    source = dcmread(folder / "C-1" / "T1" / "001.dcm", stop_before_pixels=True)
    source.Modality, source.SeriesInstanceUID = "SEG", uid_of("seg")
    series = Dataset()
    series.SeriesInstanceUID = refers_to
    source.ReferencedSeriesSequence = [series]
    source.save_as(folder / "C-1" / "seg.dcm")


def judge_segmentation(folder: Path) -> bool:
    """Whether the segmentation was drawn on the T1; raises if it was not."""
    series = {one.description: one for one in find_series(folder / "C-1") if one.modality == "MR"}
    (segmentation,) = (one for one in find_series(folder / "C-1") if one.modality == "SEG")
    require_drawn_on(segmentation, series["t1"], name="t1")
    return True


FAULTS = [
    Fault(
        "belonging: a segmentation that refers to another series",
        lambda folder: write_segmentation(folder, refers_to=uid_of("series", "t2")),
        judge_segmentation,
        refused="annotation of t1, but it refers to another series",
    ),
    Fault(
        "belonging: a segmentation that refers to its image",
        lambda folder: write_segmentation(folder, refers_to=uid_of("series", "t1")),
        judge_segmentation,
        right=bool,
    ),
    *(
        Fault(f"belonging: {name}", make, reading(block), refused=NO_ID + f"^(?!.*Planted).*{reason}")
        for name, (make, block, reason) in REFUSED.items()
    ),
    *(Fault(f"belonging: {name}", make, reading(block), right=all_labels) for name, (make, block) in READ.items()),
]
