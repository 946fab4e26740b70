"""Contours drawn by a clinician, as a structure set tells them."""

import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement

from diffufuse.dicom.series import ras_from_lps, read_header
from diffufuse.errors import BadInput

log = logging.getLogger(__name__)

AREA_TYPES = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
OTHER_TYPES = ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")
UNKNOWN_LENGTH = 0xFFFFFFFF
HARMLESS_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True)
class Contours:
    """The closed contours of one region of interest.

    Attributes:
        roi: name of the region as messages may show it.
        frame_of_reference: UID of the coordinate system in which it was drawn.
        polygons: each (N, 3), RAS, mm, N >= 3, the last point not repeated.
        path: the file, for messages.
        skipped: how many contours enclose no area, by kind.
        unreferenced: how many contours name no image, or one that is not among those asked about.
    """

    roi: str
    frame_of_reference: str
    polygons: tuple[np.ndarray, ...]
    path: Path | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    unreferenced: int = 0

    @property
    def name(self) -> str:
        """File and region, as messages call them."""
        return f"{self.path or 'contours'}, ROI {self.roi}"


def shown_name(name: str) -> str:
    """A region's name as messages and records may show it: free text in its place may name a person or a path."""
    return name if HARMLESS_NAME.fullmatch(name) else "(name withheld)"


def matching_name(names: Sequence[str], pattern: str, path: Path, *, optional: bool = False) -> int | None:
    """Which one of a file's regions is meant.

    Args:
        names: of all regions in the file.
        pattern: regular expression, found anywhere in the name, upper and lower case alike; `^GTV$` is exact.
        path: the file, for messages.
        optional: whether the region may be absent.

    Returns:
        Its index; None if it is optional and absent.

    Raises:
        BadInput: several names match, or none and it is not optional.
    """
    found = [index for index, name in enumerate(names) if re.search(pattern, name, re.IGNORECASE)]
    if len(found) == 1:
        return found[0]
    if optional and not found:
        return None
    listed = ", ".join(repr(shown_name(names[index])) for index in found or range(len(names))) or "no ROI at all"
    raise BadInput(
        f"{path}: expected one ROI that matches {pattern!r}, but {len(found)} of {len(names)} do "
        f"({'these match' if found else 'the file has'}: {listed}); change the pattern."
    )


def read_structure_set(path: str | os.PathLike[str]) -> pydicom.Dataset:
    """A structure set's tags.

    Raises:
        BadInput: the file is not a readable RTSTRUCT.
    """
    dataset = read_header(path)
    if dataset.Modality != "RTSTRUCT":
        raise BadInput(f"{path}: expected modality RTSTRUCT, got {dataset.Modality}; give the structure set's file.")
    require_whole(dataset, Path(path))
    return dataset


def require_whole(structures: pydicom.Dataset, path: Path) -> None:
    """Refuse a structure set that was cut short, of which pydicom reads in silence what there is.

    Args:
        structures: an RTSTRUCT's tags, before any of its sequences was asked for.
        path: the file, for messages.

    Raises:
        BadInput: a value is shorter than its length says, or there are regions but no list of their contours.
    """
    elements = [structures.get_item(tag) for tag in structures.keys()]  # noqa: SIM118
    cut = any(
        isinstance(element, RawDataElement)
        and element.length != UNKNOWN_LENGTH
        and len(element.value or b"") < element.length
        for element in elements
    )
    if cut or ("StructureSetROISequence" in structures and "ROIContourSequence" not in structures):
        raise BadInput(
            f"{path}: expected a whole DICOM file, but the structure set ends before its contours do; fetch it again."
        )


def rois_of(structures: pydicom.Dataset) -> list[str]:
    """Names of a structure set's regions, in its order."""
    return [str(item.get("ROIName") or "").strip() for item in structures.get("StructureSetROISequence") or []]


def read_rois(path: str | os.PathLike[str]) -> list[str]:
    """Names of the regions in an RTSTRUCT file, in its order; free text that may name a person.

    Raises:
        BadInput: the file is not a readable RTSTRUCT.
    """
    return rois_of(read_structure_set(path))


def read_contours(path: str | os.PathLike[str], roi_name_pattern: str) -> Contours:
    """Read the closed contours of the one region whose name matches.

    Args:
        path: an RTSTRUCT file.
        roi_name_pattern: regular expression, found anywhere in the name, upper and lower case alike; `^GTV$` is exact.

    Raises:
        BadInput: the file is no readable RTSTRUCT, no or several names match, or the region has no closed contour.
    """
    structures = read_structure_set(path)
    index = matching_name(rois_of(structures), roi_name_pattern, Path(path))
    assert index is not None
    contours = contours_of(structures, index, path=Path(path))
    require_area(contours)
    return contours


def require_area(contours: Contours) -> None:
    """Refuse a region that encloses nothing.

    Raises:
        BadInput: it has no closed contour.
    """
    if not contours.polygons:
        others = ", ".join(f"{count} {kind}" for kind, count in contours.skipped.items()) or "none of any type"
        raise BadInput(f"{contours.name}: expected closed planar contours, got {others}; choose another ROI.")


def contours_of(
    structures: pydicom.Dataset, index: int, *, path: Path, image_uids: Collection[str] | None = None
) -> Contours:
    """The contours of one region; those that enclose no area are counted and left out.

    Args:
        structures: an RTSTRUCT's tags.
        index: of the region among `rois_of`.
        path: the file, for messages.
        image_uids: SOPInstanceUIDs of the images at hand; None if they are not asked about.

    Raises:
        BadInput: the region names no frame of reference, or its numbers are malformed.
    """
    entry = structures.StructureSetROISequence[index]
    roi, frame = shown_name(str(entry.get("ROIName") or "").strip()), entry.get("ReferencedFrameOfReferenceUID")
    name = f"{path}, ROI {roi}"
    if not frame:
        raise BadInput(f"{name}: expected a ReferencedFrameOfReferenceUID; export the structure set again.")
    items = [
        contour
        for item in structures.get("ROIContourSequence") or []
        if item.get("ReferencedROINumber") == entry.get("ROINumber")
        for contour in item.get("ContourSequence") or []
    ]
    polygons, skipped = _closed_polygons(items, name)
    unreferenced = sum(not _refers(item, image_uids) for item in items)
    if unreferenced:
        log.warning("%s: %d contours name no image at hand; frame and geometry place them.", name, unreferenced)
    return Contours(roi, str(frame), polygons, path, skipped, unreferenced)


def _closed_polygons(items: Sequence[pydicom.Dataset], name: str) -> tuple[tuple[np.ndarray, ...], dict[str, int]]:
    polygons, skipped = [], []
    for number, item in enumerate(items, start=1):
        kind = str(item.get("ContourGeometricType") or "")
        points = _points(item, f"{name}, contour {number}") if kind in AREA_TYPES else np.empty((0, 3))
        if len(points) >= 3:
            polygons.append(points)
        else:
            skipped.append((number, kind if kind in AREA_TYPES + OTHER_TYPES else "other type"))
    if skipped:
        listed = ", ".join(f"{number} ({kind})" for number, kind in skipped)
        log.warning("%s: %d contours enclose no area and are skipped: %s.", name, len(skipped), listed)
    return tuple(polygons), dict(Counter(kind for _, kind in skipped))


def _refers(item: pydicom.Dataset, image_uids: Collection[str] | None) -> bool:
    """Whether a contour names an image, and only images at hand."""
    named = [str(image.get("ReferencedSOPInstanceUID") or "") for image in item.get("ContourImageSequence") or []]
    return any(named) and (image_uids is None or all(uid in image_uids for uid in named))


def _points(item: pydicom.Dataset, name: str) -> np.ndarray:
    try:
        points = _numbers(item, "ContourData").reshape(-1, 3)
        shift = _numbers(item, "ContourOffsetVector")
    except (ValueError, TypeError) as error:
        raise BadInput(f"{name}: expected triples of numbers in ContourData; export it again.") from error
    if not np.isfinite(points).all():
        raise BadInput(f"{name}: expected finite numbers in ContourData; export it again.")
    if shift.any():
        raise BadInput(f"{name}: expected points where they are, got a ContourOffsetVector; export it again.")
    return ras_from_lps(points)


def _numbers(item: pydicom.Dataset, keyword: str) -> np.ndarray:
    """A tag's numbers, parsed in one go: pydicom would make an object of each of a structure's 10,000s of numbers."""
    value = item.get_item(keyword).value if keyword in item else None
    if isinstance(value, bytes):
        value = value.strip(b" \0").split(b"\\") if value.strip(b" \0") else None
    return np.array([] if value is None else value, float).reshape(-1)
