"""Read the contours of a DICOM structure set (RTSTRUCT)."""

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
        roi: name of the region, withheld if it may name a person.
        frame_of_reference: FrameOfReferenceUID of the coordinates.
        polygons: each (N, 3), RAS, mm, N >= 3, the last point not repeated.
        path: the file, for messages.
        skipped: number of contours that enclose no area, by ContourGeometricType.
        unreferenced: number of contours that reference no image, or one outside `image_uids`.
    """

    roi: str
    frame_of_reference: str
    polygons: tuple[np.ndarray, ...]
    path: Path | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    unreferenced: int = 0

    @property
    def name(self) -> str:
        """File and region, for messages."""
        return f"{self.path or 'contours'}, ROI {self.roi}"


def safe_name(name: str) -> str:
    """Return a region's name for messages and records; free text is withheld, as it may name a person or a path."""
    return name if HARMLESS_NAME.fullmatch(name) else "(name withheld)"


def matching_name(names: Sequence[str], pattern: str, path: Path, *, optional: bool = False) -> int | None:
    """Return the index of the one region whose name matches a pattern.

    Args:
        names: names of all regions in the file.
        pattern: regular expression, searched in the name, ignoring case; `^GTV$` is exact.
        path: the file, for messages.
        optional: whether the region may be absent.

    Returns:
        The index; None if the region is optional and absent.

    Raises:
        BadInput: several names match, or none and it is not optional.
    """
    matches = [index for index, name in enumerate(names) if re.search(pattern, name, re.IGNORECASE)]
    if len(matches) == 1:
        return matches[0]
    if optional and not matches:
        return None
    listed = ", ".join(repr(safe_name(names[index])) for index in matches or range(len(names))) or "no ROI at all"
    raise BadInput(
        f"{path}: expected one ROI that matches {pattern!r}, but {len(matches)} of {len(names)} do "
        f"({'these match' if matches else 'the file has'}: {listed}); change the pattern."
    )


def read_structure_set(path: str | os.PathLike[str]) -> pydicom.Dataset:
    """Read the dataset of a structure set.

    Raises:
        BadInput: the file is not a readable RTSTRUCT.
    """
    dataset = read_header(path)
    if dataset.Modality != "RTSTRUCT":
        raise BadInput(f"{path}: expected modality RTSTRUCT, got {dataset.Modality}; give the structure set's file.")
    require_whole(dataset, Path(path))
    return dataset


def require_whole(structures: pydicom.Dataset, path: Path) -> None:
    """Raise for a truncated structure set, which pydicom reads without an error.

    Args:
        structures: dataset of an RTSTRUCT, before any of its sequences was accessed.
        path: the file, for messages.

    Raises:
        BadInput: a value is shorter than its declared length, or there are regions without a contour sequence.
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
    """Return the names of a structure set's regions, in file order."""
    return [str(item.get("ROIName") or "").strip() for item in structures.get("StructureSetROISequence") or []]


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
    index = matching_name(rois_of(structures), roi_name_pattern, Path(path))
    assert index is not None
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


def contours_of(
    structures: pydicom.Dataset, index: int, *, path: Path, image_uids: Collection[str] | None = None
) -> Contours:
    """Return the contours of one region; those that enclose no area are counted and left out.

    Args:
        structures: dataset of an RTSTRUCT.
        index: index of the region in `rois_of`.
        path: the file, for messages.
        image_uids: SOPInstanceUIDs of the available images; None to accept any reference.

    Raises:
        BadInput: the region has no frame of reference, or its numbers are malformed.
    """
    entry = structures.StructureSetROISequence[index]
    roi, frame = safe_name(str(entry.get("ROIName") or "").strip()), entry.get("ReferencedFrameOfReferenceUID")
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
    """Return whether a contour references an image, and only images in `image_uids`."""
    referenced = [str(image.get("ReferencedSOPInstanceUID") or "") for image in item.get("ContourImageSequence") or []]
    return any(referenced) and (image_uids is None or all(uid in image_uids for uid in referenced))


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
    """Return a tag's numbers, parsed as one array; pydicom would create one object per number."""
    value = item.get_item(keyword).value if keyword in item else None
    if isinstance(value, bytes):
        value = value.strip(b" \0").split(b"\\") if value.strip(b" \0") else None
    return np.array([] if value is None else value, float).reshape(-1)
