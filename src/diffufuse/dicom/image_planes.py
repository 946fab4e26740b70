"""Where the single images of a series lie, to check what contours say of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pydicom

from diffufuse.dicom.decoding import numbers
from diffufuse.dicom.series import Series, headers_of
from diffufuse.dicom.stack import ras_from_lps

POSITION, DIRECTION = "ImagePositionPatient", "ImageOrientationPatient"


@dataclass(frozen=True)
class ImagePlanes:
    """The images of a series, by SOPInstanceUID.

    Attributes:
        positions: (3,), a point of each image, RAS, mm; None for a file of several frames.
        normal: (3,), of unit length, RAS.
        distance_mm: least distance between two images; infinite if there is one.
    """

    positions: Mapping[str, np.ndarray | None]
    normal: np.ndarray
    distance_mm: float

    def holds(self, uid: str, points: np.ndarray) -> bool:
        """Return whether points (N, 3), RAS, mm, lie within half a slice of an image; True if its place is unknown."""
        position = self.positions.get(uid)
        if position is None or not np.isfinite(self.distance_mm):
            return True
        return bool(np.abs((points - position) @ self.normal).max() <= self.distance_mm / 2)


def image_planes(series: Series) -> ImagePlanes:
    """Return where the images of a series lie.

    Raises:
        BadInput: a file is unreadable, or its position is malformed.
    """
    headers = headers_of(series)
    positions = {
        str(header.get("SOPInstanceUID") or ""): (
            ras_from_lps(numbers(header, POSITION, 3, path)) if POSITION in header else None
        )
        for header, path in zip(headers, series.files, strict=True)
    }
    if not all(DIRECTION in header and POSITION in header for header in headers):
        return ImagePlanes(positions, np.zeros(3), np.inf)
    normal = _normal(headers, series)
    along = sorted(float(position @ normal) for position in positions.values() if position is not None)
    gaps = [after - before for before, after in pairwise(along) if after - before > 0]
    return ImagePlanes(positions, normal, min(gaps, default=np.inf))


def _normal(headers: Sequence[pydicom.Dataset], series: Series) -> np.ndarray:
    row, column = ras_from_lps(numbers(headers[0], DIRECTION, 6, series.files[0]).reshape(2, 3))
    normal = np.cross(row, column)
    return normal / max(float(np.linalg.norm(normal)), np.finfo(float).tiny)
