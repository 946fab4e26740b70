"""Parse the items of a ContourSequence."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pydicom

from diffufuse.dicom.stack import ras_from_lps
from diffufuse.errors import BadInput

log = logging.getLogger(__name__)

UNITED, EXCLUSIVE = "CLOSED_PLANAR", ("CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
OPEN = ("OPEN_PLANAR", "OPEN_NONPLANAR")
POINT = "POINT"
FEWEST_POINTS = 3
DECIMALS = b"0123456789+-.eE \\"


@dataclass(frozen=True)
class ClosedContours:
    """The contours of a region that enclose an area.

    Attributes:
        polygons: each (N, 3), RAS, mm, N >= 3, the last point not repeated.
        exclusive: whether each is of type CLOSEDPLANAR_XOR.
        items: index of the item of each.
        skipped: number of points and of closed contours with less than three points, by ContourGeometricType.
    """

    polygons: tuple[np.ndarray, ...]
    exclusive: tuple[bool, ...]
    items: tuple[int, ...]
    skipped: dict[str, int]


def closed_contours(items: Sequence[pydicom.Dataset], name: str) -> ClosedContours:
    """Parse contours; single points, and closed contours of one or two points, enclose nothing and are counted.

    Args:
        items: of a ContourSequence.
        name: file and region, for messages.

    Raises:
        BadInput: a contour is open, has no type or one that DICOM does not define, its numbers are missing or
            malformed, or are not as many as it says.
    """
    polygons, exclusive, indices, skipped = [], [], [], []
    for number, item in enumerate(items, start=1):
        where = f"{name}, contour {number}"
        kind, points = _kind(item, where), _points(item, where)
        if kind == POINT and len(points) > 1:
            raise BadInput(
                f"{where}: expected one point in a POINT, got {len(points)}; export the structure set again."
            )
        if kind != POINT and len(np.unique(points, axis=0)) >= FEWEST_POINTS:
            polygons.append(points[:-1] if (points[0] == points[-1]).all() else points)
            exclusive.append(kind in EXCLUSIVE)
            indices.append(number - 1)
        else:
            skipped.append((number, kind))
    if skipped:
        listed = ", ".join(f"{number} ({kind})" for number, kind in skipped)
        log.warning("%s: %d contours enclose no area and are skipped: %s.", name, len(skipped), listed)
    by_kind = dict(Counter(kind for _, kind in skipped))
    return ClosedContours(tuple(polygons), tuple(exclusive), tuple(indices), by_kind)


def _kind(item: pydicom.Dataset, name: str) -> str:
    """Return the ContourGeometricType of a closed contour or a point."""
    kind = str(item.get("ContourGeometricType") or "").strip()
    if kind in OPEN:
        raise BadInput(
            f"{name}: expected a closed contour, got one of type {kind}, of which nobody can say what it encloses; "
            "close it, or move it to an ROI of its own."
        )
    if kind not in (UNITED, POINT, *EXCLUSIVE):
        actual = "one that DICOM does not define" if kind else "none"
        raise BadInput(f"{name}: expected a ContourGeometricType, got {actual}; export the structure set again.")
    return kind


def _points(item: pydicom.Dataset, name: str) -> np.ndarray:
    """Return the points of a contour, (N, 3), RAS, mm."""
    try:
        points = _numbers(item, "ContourData").reshape(-1, 3)
        shift = _numbers(item, "ContourOffsetVector")
        count = int(item.get("NumberOfContourPoints") or 0)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadInput(f"{name}: expected triples of numbers in ContourData; export it again.") from error
    if not len(points) or count != len(points):
        raise BadInput(
            f"{name}: expected as many points in ContourData as NumberOfContourPoints says, at least 1, got "
            f"{len(points)} where {count} are due; export the structure set again."
        )
    if not np.isfinite(points).all():
        raise BadInput(f"{name}: expected finite numbers in ContourData; export it again.")
    if shift.any():
        raise BadInput(f"{name}: expected points where they are, got a ContourOffsetVector; export it again.")
    return ras_from_lps(points)


def _numbers(item: pydicom.Dataset, keyword: str) -> np.ndarray:
    """Return a tag's numbers, parsed as one array; pydicom would create one object per number."""
    value = item.get_item(keyword, keep_deferred=True).value if keyword in item else None
    if isinstance(value, bytes):
        value = value.strip(b" \0")
        if value.translate(None, DECIMALS).strip():
            raise ValueError("not a decimal string")
        value = value.split(b"\\") if value else None
    return np.array([] if value is None else value, float).reshape(-1)
