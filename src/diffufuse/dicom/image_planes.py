"""Where the single images of a series lie, to check what contours say of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom

from diffufuse.dicom.elements import numbers
from diffufuse.dicom.series import Series, headers_of
from diffufuse.dicom.stack import ras_from_lps

POSITION, DIRECTION = "ImagePositionPatient", "ImageOrientationPatient"
PARALLEL, PARALLEL_DECIMALS = 0.999, 2  # cosine


@dataclass(frozen=True)
class ImagePlanes:
    """The images of a series, by SOPInstanceUID.

    Attributes:
        positions: (3,), a point of each image, RAS, mm; None where it is not known.
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
    """Return where the images of a series lie; of images that are not parallel to most, as localizers, it is left open.

    Raises:
        BadInput: a file is unreadable, or its position is malformed.
    """
    headers = headers_of(series)
    uids = [str(header.get("SOPInstanceUID") or "") for header in headers]
    placed = {
        uid: (ras_from_lps(numbers(header, POSITION, 3, path)), _normal(header, path))
        for uid, header, path in zip(uids, headers, series.files, strict=True)
        if POSITION in header and DIRECTION in header
    }
    if not placed:
        return ImagePlanes(dict.fromkeys(uids), np.zeros(3), np.inf)
    normals = Counter(tuple(np.round(normal, PARALLEL_DECIMALS)) for _, normal in placed.values())
    common = np.array(normals.most_common(1)[0][0])
    normal = next(one for _, one in placed.values() if np.allclose(one, common, atol=10**-PARALLEL_DECIMALS))
    parallel = {uid: position for uid, (position, one) in placed.items() if one @ normal > PARALLEL}
    along = sorted(float(position @ normal) for position in parallel.values())
    gaps = [after - before for before, after in pairwise(along) if after > before]
    return ImagePlanes(dict.fromkeys(uids) | parallel, normal, min(gaps, default=np.inf))


def _normal(header: pydicom.Dataset, path: Path) -> np.ndarray:
    row, column = ras_from_lps(numbers(header, DIRECTION, 6, path).reshape(2, 3))
    normal = np.cross(row, column)
    unit: np.ndarray = normal / max(float(np.linalg.norm(normal)), np.finfo(float).tiny)
    return unit
