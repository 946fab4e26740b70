"""Structure sets and segmentations that do not fit their image, say too little, or say it in an unusual way."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage

from diffufuse.dicom.image_planes import image_planes
from diffufuse.dicom.series import find_series, read_series
from diffufuse.dicom.structures import Masks, read_masks
from diffufuse.phantom.dicom_headers import Person, SeriesHeader, uid_of
from diffufuse.phantom.dicom_writing import write_mr
from diffufuse.space.volumes import Volume
from faults import Fault

SHAPE, SPACING_MM = (20, 18, 8), (1.0, 1.5, 3.0)
FRAME = uid_of("frame")
PATTERNS = {"mass": "GTV_Mass", "edema": "GTV_Edema"}
OUTER, INNER = [(1.6, 1.6), (12.4, 1.6), (12.4, 12.4), (1.6, 12.4)], [(4.6, 4.6), (7.4, 4.6), (7.4, 7.4), (4.6, 7.4)]
OUTER_VOXELS, INNER_VOXELS = 11 * 11, 3 * 3

Corners = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Contour:
    """Corners in voxels of a slice, and what a structure set says of them."""

    corners: Corners = tuple(OUTER)
    slice_index: float = 3
    kind: str = "CLOSED_PLANAR"
    image: str | None = "known"
    tilt: float = 0.0


def upright(shape: tuple[int, int, int] = SHAPE) -> Volume:
    """The image's grid as its files hold it: rows run left and columns back."""
    affine = np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0])
    affine[:3, 3] = 30.0, 20.0, -50.0
    return Volume(np.arange(np.prod(shape), dtype=np.float32).reshape(shape) % 500, affine)


def write_image(folder: Path, volume: Volume) -> None:
    day = datetime(2001, 2, 3, 11)
    person = Person("PH-001", "Phantom^1", datetime(1950, 2, 3), "F", 70.0, 1.7)
    series = SeriesHeader(person, uid_of("study"), uid_of("mr"), FRAME, 1, "T1", day, day)
    timing = {"repetition_ms": 500, "echo_ms": 10, "fat_saturated": False, "thickness_mm": 3}
    write_mr(volume, folder / "MR", series, **timing)


def write_contours(folder: Path, rois: Sequence[tuple[str, Sequence[Contour]]], *, frame: str | None = FRAME) -> Path:
    """A structure set beside an upright image."""
    volume = upright()
    write_image(folder, volume)
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, uid_of("rs", 1)
    dataset.SeriesInstanceUID, dataset.Modality = uid_of("rs"), "RTSTRUCT"
    dataset.StudyInstanceUID, dataset.PatientID, dataset.PatientName = uid_of("study"), "PH-001", "Phantom^1"
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois, start=1):
        entry, drawn = Dataset(), Dataset()
        entry.ROINumber, entry.ROIName = number, name
        if frame:
            entry.ReferencedFrameOfReferenceUID = frame
        drawn.ReferencedROINumber = number
        if contours:
            drawn.ContourSequence = [_item(contour, volume) for contour in contours]
        dataset.StructureSetROISequence.append(entry)
        dataset.ROIContourSequence.append(drawn)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    (folder / "RS").mkdir()
    dataset.save_as(folder / "RS" / "1.dcm", enforce_file_format=True)
    return folder / "RS" / "1.dcm"


def _item(contour: Contour, volume: Volume) -> Dataset:
    index = np.array([(x, y, contour.slice_index + contour.tilt * x) for x, y in contour.corners])
    points = (index @ volume.affine[:3, :3].T + volume.affine[:3, 3]) * [-1, -1, 1]
    item = Dataset()
    item.ContourGeometricType, item.NumberOfContourPoints = contour.kind, len(points)
    item.ContourData = [f"{value:.4f}" for value in points.ravel()]
    if contour.image:
        image = Dataset()
        known = uid_of(uid_of("mr"), int(contour.slice_index) + 1)
        image.ReferencedSOPInstanceUID = known if contour.image == "known" else "1.2.3"
        item.ContourImageSequence = [image]
    return item


def write_segments(
    folder: Path,
    masks: dict[str, np.ndarray],
    *,
    volume: Volume | None = None,
    slices: slice = slice(None),
    kind: str = "BINARY",
    change: Callable[[Dataset], None] = lambda dataset: None,
) -> Path:
    """A segmentation by highdicom of an image's slices; masks are (X, Y, Z) as the image's files hold it."""
    volume = volume or upright()
    write_image(folder, volume)
    sources = [pydicom.dcmread(path) for path in sorted((folder / "MR").iterdir())][slices]
    pixels = np.stack([np.asarray(mask)[:, :, slices].transpose(2, 1, 0) for mask in masks.values()], axis=-1)
    algorithm = hd.AlgorithmIdentificationSequence("phantom", codes.DCM.ArtificialIntelligence, "1")
    tissue = {"segmented_property_category": codes.SCT.Tissue, "segmented_property_type": codes.SCT.Tissue}
    segments = [
        hd.seg.SegmentDescription(n, label, algorithm_type="AUTOMATIC", algorithm_identification=algorithm, **tissue)
        for n, label in enumerate(masks, start=1)
    ]
    device = {"manufacturer": "Phantom", "manufacturer_model_name": "Thigh", "software_versions": "1"}
    where = {"series_instance_uid": uid_of("seg"), "series_number": 9, "sop_instance_uid": uid_of("seg", 1)}
    seg = hd.seg.Segmentation(
        sources,
        pixels if kind == "FRACTIONAL" else pixels.astype(np.uint8),
        kind,
        segments,
        instance_number=1,
        device_serial_number="1",
        **device,
        **where,
    )
    change(seg)
    (folder / "RS").mkdir()
    seg.save_as(folder / "RS" / "1.dcm")
    return folder / "RS" / "1.dcm"


def read(
    folder: Path,
    *,
    frame: str | None = "",
    optional: Sequence[str] = ("edema",),
    **patterns: str | dict[str, str],
) -> Masks:
    (image,) = find_series(folder / "MR")
    return read_on(
        folder,
        read_series(image),
        patterns or PATTERNS,
        frame_of_reference={"": image.frame_of_reference, "none": ""}.get(frame, frame),
        optional=optional,
        images=image_planes(image),
    )


def read_on(folder: Path, grid: Volume, patterns: dict[str, str], **asked: object) -> Masks:
    """The masks of the one structure set or segmentation in a folder."""
    (drawn,) = find_series(folder / "RS")
    return read_masks(drawn, patterns, grid, **asked)


def contours(*drawn: Contour, **more: Sequence[Contour]) -> Callable[[Path], None]:
    """Writes a structure set whose mass consists of these contours."""
    return lambda folder: write_contours(folder, [("GTV_Mass", drawn), *more.items()]) and None


def altered(change: Callable[[Dataset], None]) -> Callable[[Path], None]:
    """Writes a structure set of one contour, which is then changed."""

    def make(folder: Path) -> None:
        path = write_contours(folder, [("GTV_Mass", [Contour()])])
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)

    return make


def first_contour(**elements: object) -> Callable[[Path], None]:
    def change(dataset: Dataset) -> None:
        for keyword, value in elements.items():
            setattr(dataset.ROIContourSequence[0].ContourSequence[0], keyword, value)

    return altered(change)


def named(*names: str) -> Callable[[Path], None]:
    return lambda folder: write_contours(folder, [(name, [Contour()]) for name in names]) and None


def cut_short(folder: Path) -> None:
    path = write_contours(folder, [("GTV_Mass", [Contour(slice_index=k) for k in range(6)])])
    path.write_bytes(path.read_bytes()[:-300])


def cut_before_contours(folder: Path) -> None:
    path = write_contours(folder, [("GTV_Mass", [Contour()])])
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\x06\x30\x39\x00")])


def with_group_length(folder: Path) -> None:
    """The first item begins with the length of its group, a retired element that pydicom does not write."""
    path = write_contours(folder, [("GTV_Mass", [Contour()])])
    content, length = path.read_bytes(), b"\x06\x30\x00\x00UL\x04\x00\x62\x00\x00\x00"
    place = content.index(b"\x06\x30\x22\x00IS")
    for end in (place, place - 8):  # lengths of the item and of the sequence
        larger = int.from_bytes(content[end - 4 : end], "little") + len(length)
        content = content[: end - 4] + larger.to_bytes(4, "little") + content[end:]
    path.write_bytes(content[:place] + length + content[place:])


def wide_spaces(dataset: Dataset) -> None:
    """A full-width space of a Japanese keyboard and a no-break space, which are no control characters."""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.StructureSetROISequence[0].ROIName = "GTV_Mass\u3000\u816b\u760d\u00a01"


def copied(folder: Path) -> None:
    path = write_contours(folder, [("GTV_Mass", [Contour()])])
    (folder / "RS" / "2.dcm").write_bytes(path.read_bytes())


def mass(voxels: int, **facts: object) -> Callable[[Masks], bool]:
    """Whether the mass has this many voxels, and its facts hold these."""

    def right(found: Masks) -> bool:
        told = found.facts["mass"]
        ml = voxels * np.prod(SPACING_MM) / 1000
        return (
            found.masks["mass"].sum() == voxels
            and np.isclose(told["mask_ml"], ml)
            and all(told[name] == value for name, value in facts.items())
        )

    return right


def refused(name: str, make: Callable[[Path], None], reason: str, **asked: object) -> Fault:
    return Fault(f"structures: {name}", make, lambda folder: read(folder, **asked), refused=reason)


def mended(name: str, make: Callable[[Path], None], right: Callable[[Masks], bool], **asked: object) -> Fault:
    return Fault(f"structures: {name}", make, lambda folder: read(folder, **asked), right=right)


C = Contour()
KEYHOLE = Contour(corners=[*OUTER, OUTER[0], *INNER[::-1], INNER[-1]])
POINT = Contour(OUTER[:1], kind="POINT", slice_index=5)

CONTOURS = [
    mended("inner ring", contours(C, Contour(INNER)), mass(OUTER_VOXELS - INNER_VOXELS, contours=2)),
    mended("keyhole", contours(KEYHOLE), mass(OUTER_VOXELS - INNER_VOXELS, contours=1)),
    mended(
        "contours of type CLOSEDPLANAR_XOR",
        contours(replace(C, kind="CLOSEDPLANAR_XOR"), Contour(INNER, kind="CLOSEDPLANAR_XOR")),
        mass(OUTER_VOXELS - INNER_VOXELS),
    ),
    mended(
        "point and two-point contour beside a closed one",
        contours(C, POINT, Contour(OUTER[:2])),
        mass(OUTER_VOXELS, contours=1, skipped={"POINT": 1, "CLOSED_PLANAR": 1}),
    ),
    refused("points only", contours(POINT), "expected closed planar contours, got 1 POINT"),
    refused("ROI without contours", contours(), "expected closed planar contours, got none"),
    mended(
        "optional ROI without contours",
        contours(C, GTV_Edema=()),
        lambda found: "edema" not in found.masks and found.facts["edema"]["contours"] == 0,
    ),
    mended("optional ROI absent", contours(C), lambda found: "edema" not in found.masks | found.facts),
    refused("required ROI absent", contours(C), "'GTV_Edema', but 0 of 1 do", optional=()),
    mended("contour a third of a slice off", contours(replace(C, slice_index=3.3)), mass(OUTER_VOXELS, off_slices=0.3)),
    refused("contour midway between slices", contours(replace(C, slice_index=3.5)), "midway between two"),
    refused("two planes of contours in one slice", contours(C, Contour(INNER, 3.3)), "fall into one"),
    refused(
        "contours of every second slice", contours(*(replace(C, slice_index=k) for k in (1, 3, 5))), "2 or more apart"
    ),
    refused("oblique contours", contours(replace(C, tilt=0.1, image=None)), "in planes of the image"),
    refused("contours outside of the image", contours(replace(C, slice_index=9)), "within the image"),
    refused(
        "contour around no voxel center", contours(Contour([(3.1, 3.1), (3.4, 3.1), (3.4, 3.4)])), "one voxel center"
    ),
    refused(
        "another frame of reference",
        lambda folder: write_contours(folder, [("GTV_Mass", [C])], frame="1.2.3") and None,
        "drawn in another",
    ),
    refused(
        "no frame of reference",
        lambda folder: write_contours(folder, [("GTV_Mass", [C])], frame=None) and None,
        "expected a ReferencedFrameOfReferenceUID",
    ),
    refused("image without frame of reference", contours(C), "an image with a FrameOfReferenceUID", frame="none"),
    mended("image of unknown frame of reference", contours(C), mass(OUTER_VOXELS), frame=None),
    mended("contours that name no image", contours(replace(C, image=None)), mass(OUTER_VOXELS, unreferenced=1)),
    mended(
        "contours that name unknown images", contours(replace(C, image="other")), mass(OUTER_VOXELS, unreferenced=1)
    ),
    mended("contours that name their images", contours(C), mass(OUTER_VOXELS, unreferenced=0)),
    refused("ROI name with a typo", named("GTV_Mas", "Skin"), r"0 of 2 do \(the file has: 'GTV_Mas', 'Skin'\)"),
    mended(
        "ROI name with a typo, tolerated by its pattern",
        named("GTV_Mas "),
        lambda found: "mass" in found.masks,
        mass="^GTV_?Mass?$",
    ),
    refused("ROI name twice", named("GTV_Mass", "GTV_Mass"), "2 of 2 do .*'GTV_Mass', 'GTV_Mass'"),
    refused("two ROI names that match", named("GTV_Mass", "GTV_Mass2"), "these match: 'GTV_Mass', 'GTV_Mass2'"),
    refused("one ROI for two labels", named("GTV_Mass"), "two labels' patterns match the same", a="Mass", b="GTV"),
    refused("ROI name that holds a person's", named("Jane Doe 1970"), r"^(?!.*Doe).*'\(name withheld\)'"),
    mended(
        "ROI name that holds a path",
        named("../../GTV_Mass", "/etc"),
        lambda found: ".." not in json.dumps(found.facts) and found.facts["rois_left_over"] == 1,
    ),
    refused("numbers that are not triples", first_contour(ContourData=["1", "2", "3", "4"]), "triples of numbers"),
    refused("numbers that are not finite", first_contour(ContourData=["nan"] * 12), "triples of numbers"),
    refused("contour offset", first_contour(ContourOffsetVector=["0", "0", "3"]), "got a ContourOffsetVector"),
    refused("structure set cut short", cut_short, "expected a whole DICOM file"),
    refused("structure set cut short before its contours", cut_before_contours, "ends before its contours do"),
    mended("ROI name with wide spaces", altered(wide_spaces), mass(OUTER_VOXELS)),
    mended("item with the length of its group", with_group_length, mass(OUTER_VOXELS)),
    refused("two files in one series", copied, "expected one file in a RTSTRUCT series, got 2"),
]


def block(*, x: slice = slice(2, 9), y: slice = slice(3, 8), z: slice = slice(2, 6)) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[x, y, z] = True
    return mask


def segments(change: Callable[[Dataset], None] = lambda dataset: None, **options: object) -> Callable[[Path], None]:
    masks = options.pop("masks", {"GTV_Mass": block(), "GTV_Edema": block(z=slice(1, 7))})
    return lambda folder: write_segments(folder, masks, change=change, **options) and None


def same(expected: np.ndarray, label: str = "mass") -> Callable[[Masks], bool]:
    """Whether a mask is this one, whose first two axes the files hold in reverse."""
    return lambda found: bool((found.masks[label] == expected[::-1, ::-1]).all())


def moved(dataset: Dataset) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        frame.PlanePositionSequence[0].ImagePositionPatient = [float(position[0]) + 0.4, position[1], position[2]]


def coarser(dataset: Dataset) -> None:
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [2 * float(mm) for mm in measures.PixelSpacing]


def elsewhere(dataset: Dataset) -> None:
    dataset.FrameOfReferenceUID = "1.2.3"


def doubled(dataset: Dataset) -> None:
    frames = dataset.PerFrameFunctionalGroupsSequence
    frames[1].PlanePositionSequence = frames[0].PlanePositionSequence


def cut_segments(folder: Path) -> None:
    path = write_segments(folder, {"GTV_Mass": block()})
    path.write_bytes(path.read_bytes()[:-60])


def images_twice(folder: Path) -> None:
    write_image(folder, upright())
    (folder / "RS").mkdir()
    (folder / "RS" / "1.dcm").write_bytes((folder / "MR" / "001.dcm").read_bytes())


SHADES = {"GTV_Mass": block() * 0.4}
GAPS = block(z=slice(1, 7, 2))

SEGMENTS = [
    mended("segments that overlap", segments(), same(block(z=slice(1, 7)), "edema")),
    mended("segment without frames for empty slices", segments(), same(block())),
    mended("segment of some slices of its image", segments(slices=slice(1, 7)), same(block())),
    mended(
        "segment with a slice left out",
        segments(masks={"GTV_Mass": block() ^ block(z=slice(3, 4))}),
        same(block() ^ block(z=slice(3, 4))),
    ),
    mended("segment of a single slice", segments(masks={"GTV_Mass": block(z=slice(4, 5))}), same(block(z=slice(4, 5)))),
    refused("segment of every second slice", segments(masks={"GTV_Mass": GAPS}), "2 or more apart"),
    refused(
        "segments beside the image's voxels", segments(moved, masks={"GTV_Mass": block()}), "up to 0.40 voxels beside"
    ),
    refused("segments of larger pixels", segments(coarser), "turned or of another size"),
    refused("segments in another frame of reference", segments(elsewhere), "drawn in another"),
    refused("two frames in one slice", segments(doubled, masks={"GTV_Mass": block()}), "one frame in each slice"),
    refused("fractional segment", segments(masks=SHADES, kind="FRACTIONAL"), "FRACTIONAL segment with values between"),
    mended(
        "fractional segment of zeros and ones",
        segments(masks={"GTV_Mass": block() * 1.0}, kind="FRACTIONAL"),
        same(block()),
    ),
    refused("segment that matches twice", segments(masks={"GTV_Mass": block(), "GTV_Mass 2": block()}), "2 of 2 do"),
    refused("segment label with a typo", segments(masks={"Mass": block()}), r"0 of 1 do \(the file has: 'Mass'\)"),
    refused(
        "segment that is empty",
        segments(masks={"GTV_Mass": block(z=slice(0)), "Skin": block()}),
        "expected voxels in it, got none",
    ),
    refused("segmentation cut short", cut_segments, "expected 180 bytes of pixels for 4 frames, got 120"),
    refused("images in place of regions", images_twice, "modality RTSTRUCT or SEG, got MR"),
]

FAULTS = CONTOURS + SEGMENTS
