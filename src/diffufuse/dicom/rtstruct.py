"""Read the contours of a DICOM structure set (RTSTRUCT)."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import dictionary_has_tag
from pydicom.dataelem import RawDataElement
from pydicom.uid import ExplicitVRLittleEndian

from diffufuse.dicom.contour_items import closed_contours
from diffufuse.dicom.elements import UNKNOWN_LENGTH, refusing
from diffufuse.dicom.image_planes import ImagePlanes
from diffufuse.dicom.region_names import matching_names, plain_name, require_no_control, safe_name
from diffufuse.dicom.series import read_header
from diffufuse.dicom.vocabulary import modality_code
from diffufuse.errors import BadInput

log = logging.getLogger(__name__)

KIND = "structure set"
OF_REGIONS, OF_CONTOURS = "StructureSetROISequence", "ROIContourSequence"
# Tag and VR of ContourData in explicit little endian, the second of one too long for the length of a DS; no text or
# number looks like these.
CONTOUR_DATA = b"\x06\x30\x50\x00DS", b"\x06\x30\x50\x00UN\0\0"
DELIMITERS = 0xFFFE  # group of the tags that begin and end items
GROUP_LENGTH = 0  # element of every group, which older writers store


@dataclass(frozen=True)
class Contours:
    """The closed contours of one region of interest.

    Attributes:
        roi: name of the region, withheld if it may name a person.
        frame_of_reference: FrameOfReferenceUID of the coordinates.
        polygons: each (N, 3), RAS, mm, N >= 3, the last point not repeated.
        path: the file, for messages.
        exclusive: whether each is of type CLOSEDPLANAR_XOR; none is where this is empty.
        skipped: number of contours that enclose no area, by ContourGeometricType.
        unreferenced: number of contours that name no image, or one that is not at hand.
    """

    roi: str
    frame_of_reference: str
    polygons: tuple[np.ndarray, ...]
    path: Path | None = None
    exclusive: tuple[bool, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    unreferenced: int = 0

    @property
    def name(self) -> str:
        """File and region, for messages."""
        return f"{self.path or 'contours'}, ROI {self.roi}"

    def is_exclusive(self, index: int) -> bool:
        """Return whether a polygon is of type CLOSEDPLANAR_XOR."""
        return bool(self.exclusive) and self.exclusive[index]


def read_structure_set(path: str | os.PathLike[str]) -> pydicom.Dataset:
    """Read the dataset of a structure set.

    Raises:
        BadInput: the file is not a readable RTSTRUCT, or contours belong to no region or to several.
    """
    dataset = read_header(path)
    if dataset.Modality != "RTSTRUCT":
        actual = modality_code(str(dataset.Modality))
        raise BadInput(f"{path}: expected modality RTSTRUCT, got {actual}; give the structure set's file.")
    require_whole(dataset, Path(path))
    require_own_numbers(dataset, Path(path))
    return dataset


def require_whole(structures: pydicom.Dataset, path: Path) -> None:
    """Raise for a truncated structure set, which pydicom reads without an error.

    Args:
        structures: dataset of an RTSTRUCT, before any of its sequences was accessed.
        path: the file, for messages.

    Raises:
        BadInput: a value is shorter than its declared length, the sequence of regions or that of contours is absent, an
            item holds what none can hold, or contours of the file are in none.
    """
    elements = [structures.get_item(tag, keep_deferred=True) for tag in structures.keys()]  # noqa: SIM118
    cut = any(
        isinstance(element, RawDataElement)
        and element.length != UNKNOWN_LENGTH
        and len(element.value or b"") < element.length
        for element in elements
    )
    if cut or OF_REGIONS not in structures or OF_CONTOURS not in structures:
        raise BadInput(
            f"{path}: expected a whole DICOM file, but the structure set ends before its contours do; fetch it again."
        )
    with refusing(path, KIND):
        for sequence in (OF_REGIONS, OF_CONTOURS):
            for item in structures.get(sequence) or []:
                _require_sound(item, path)
        explicit = structures.file_meta.get("TransferSyntaxUID") == ExplicitVRLittleEndian
        content = path.read_bytes() if explicit else b""
        held, parsed = sum(map(content.count, CONTOUR_DATA)), _elements_in(structures, "ContourData")
    if held > parsed:
        raise BadInput(
            f"{path}: expected {held} contours, as often as the file holds ContourData, but {parsed} can be read; "
            "fetch it again."
        )


def _elements_in(item: pydicom.Dataset, keyword: str) -> int:
    """Return how often an element occurs in a dataset and its sequences, without decoding other elements."""
    inner = [part for element in item.values() if element.VR == "SQ" for part in item[element.tag].value or []]
    return (keyword in item) + sum(_elements_in(part, keyword) for part in inner)


def _require_sound(item: pydicom.Dataset, path: Path) -> None:
    """Raise for an item that swallowed others, or holds elements that DICOM does not define: its bytes are damaged."""
    for tag in item.keys():  # noqa: SIM118
        is_defined = tag.is_private or tag.element == GROUP_LENGTH or dictionary_has_tag(tag)
        if tag.group == DELIMITERS or not is_defined:
            raise BadInput(
                f"{path}: expected items of elements that DICOM defines, got one with another in it; export it again."
            )
    for keyword in ("ContourSequence", "ContourImageSequence"):
        for inner in item.get(keyword) or []:
            _require_sound(inner, path)


def require_own_numbers(structures: pydicom.Dataset, path: Path) -> None:
    """Raise unless every item of contours belongs to exactly one region.

    Contours that belong to none could be those of a region that seems to have none.

    Raises:
        BadInput: a region or an item of contours has no number, two have the same, contours belong to no region, or a
            name is damaged.
    """
    with refusing(path, KIND):
        regions = [_number(item, "ROINumber") for item in structures.get(OF_REGIONS) or []]
        drawn = [_number(item, "ReferencedROINumber") for item in structures.get(OF_CONTOURS) or []]
        names = rois_of(structures)
    require_no_control(names, path, noun="ROI names")
    for noun, numbers in (("ROIs", regions), ("items of contours", drawn)):
        if None in numbers:
            raise BadInput(f"{path}: expected {noun} with an ROI number, got one without; export it again.")
        if len(set(numbers)) < len(numbers):
            raise BadInput(
                f"{path}: expected {noun} with a number each of its own, but {len(numbers)} have {len(set(numbers))} "
                "numbers, so that nobody can say whose contours are whose; export it again."
            )
    lost = set(drawn) - set(regions)
    if lost:
        raise BadInput(
            f"{path}: expected contours of the {len(regions)} ROIs that the file names, but {len(lost)} items of "
            "contours belong to none of them; export it again."
        )


def rois_of(structures: pydicom.Dataset) -> list[str]:
    """Return the names of a structure set's regions, in file order."""
    return [plain_name(item.get("ROIName")) for item in structures.get(OF_REGIONS) or []]


def read_rois(path: str | os.PathLike[str]) -> list[str]:
    """Read the names of the regions in an RTSTRUCT file, in file order; free text that may name a person.

    Raises:
        BadInput: the file is not a readable RTSTRUCT.
    """
    return rois_of(read_structure_set(path))


def read_contours(path: str | os.PathLike[str], roi_name_pattern: str) -> Contours:
    """Read the closed contours of the one region whose name matches.

    Args:
        path: an RTSTRUCT file.
        roi_name_pattern: regular expression, searched in the name, ignoring case; `^GTV$` is exact.

    Raises:
        BadInput: the file is not a readable RTSTRUCT, no or several names match, or the region has no closed contour.
    """
    structures = read_structure_set(path)
    (index,) = matching_names(rois_of(structures), roi_name_pattern, Path(path))
    contours = contours_of(structures, index, path=Path(path))
    require_area(contours)
    return contours


def require_area(contours: Contours) -> None:
    """Raise for a region without area.

    Raises:
        BadInput: the region has no closed contour.
    """
    if not contours.polygons:
        others = ", ".join(f"{count} {kind}" for kind, count in contours.skipped.items()) or "none of any type"
        raise BadInput(f"{contours.name}: expected closed planar contours, got {others}; choose another ROI.")


def contours_of(structures: pydicom.Dataset, index: int, *, path: Path, images: ImagePlanes | None = None) -> Contours:
    """Return the contours of one region; those that enclose no area are counted and left out.

    Args:
        structures: dataset of an RTSTRUCT.
        index: index of the region in `rois_of`.
        path: the file, for messages.
        images: those on which the contours may lie; None to accept any reference.

    Raises:
        BadInput: the region has no frame of reference; its numbers are malformed; or a contour lies in the slice of
            another image than it names, or names an image that is not at hand while others do not.
    """
    with refusing(path, KIND):
        entry = structures[OF_REGIONS][index]
        roi, frame = safe_name(plain_name(entry.get("ROIName"))), entry.get("ReferencedFrameOfReferenceUID")
    name = f"{path}, ROI {roi}"
    if not frame:
        raise BadInput(f"{name}: expected a ReferencedFrameOfReferenceUID; export the structure set again.")
    with refusing(path, KIND):
        items = [
            contour
            for item in structures.get(OF_CONTOURS) or []
            if _number(item, "ReferencedROINumber") == _number(entry, "ROINumber")
            for contour in item.get("ContourSequence") or []
        ]
        closed = closed_contours(items, name)
        named = [_images_of(item) for item in items]
    unreferenced = _require_own_images(named, images, name)
    for uids, polygon in zip((named[k] for k in closed.items), closed.polygons, strict=True):
        if images and not all(images.holds(uid, polygon) for uid in uids):
            raise BadInput(
                f"{name}: expected contours in the slices of the images that they name, but one lies in another slice; "
                "export the structure set again."
            )
    return Contours(roi, str(frame), closed.polygons, path, closed.exclusive, closed.skipped, unreferenced)


def _number(item: pydicom.Dataset, keyword: str) -> int | None:
    value = item.get(keyword)
    return None if value in (None, "") else int(value)


def _images_of(item: pydicom.Dataset) -> list[str]:
    """Return the SOPInstanceUIDs of the images that a contour names."""
    uids = [str(image.get("ReferencedSOPInstanceUID") or "") for image in item.get("ContourImageSequence") or []]
    return [uid for uid in uids if uid]


def _require_own_images(named: Sequence[Sequence[str]], images: ImagePlanes | None, name: str) -> int:
    """Return how many contours name no image at hand; raise if some name images at hand and some others."""
    of_series = [bool(uids) and (images is None or all(uid in images.positions for uid in uids)) for uids in named]
    others = sum(bool(uids) for uids, known in zip(named, of_series, strict=True) if not known)
    if others and any(of_series):
        raise BadInput(
            f"{name}: expected contours on images of one series, but {others} of {len(named)} name images that are not "
            "at hand; add the missing images."
        )
    unreferenced = len(named) - sum(of_series)
    if unreferenced:
        log.warning("%s: %d contours name no image at hand; frame and geometry place them.", name, unreferenced)
    return unreferenced
