"""Contours drawn by a clinician, and the voxels whose centers they enclose."""

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from diffufuse.dicom.series import ras_from_lps, read_header
from diffufuse.errors import BadInput
from diffufuse.types import Mask
from diffufuse.volumes import Volume

log = logging.getLogger(__name__)

AREA_TYPES = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
PLANE_TOLERANCE = 0.1  # of a slice
HALF_A_SLICE = 0.499
INDEX_DECIMALS = 6  # rounding noise must not decide on which side of a contour a voxel center lies


@dataclass(frozen=True)
class Contours:
    """The closed contours of one region of interest.

    Attributes:
        roi: name of the region.
        frame_of_reference: UID of the coordinate system in which it was drawn.
        polygons: each (N, 3), RAS, mm, N >= 3, the last point not repeated.
        path: the file, for messages.
    """

    roi: str
    frame_of_reference: str
    polygons: tuple[np.ndarray, ...]
    path: Path | None = None

    @property
    def name(self) -> str:
        """File and region, as messages call them."""
        return f"{self.path or 'contours'}, ROI {self.roi}"


def read_rois(path: str | os.PathLike[str]) -> list[str]:
    """Names of the regions in an RTSTRUCT file, in its order.

    Raises:
        BadInput: the file is not a readable RTSTRUCT.
    """
    return [str(item.get("ROIName") or "") for item in _read_rtstruct(path).get("StructureSetROISequence") or []]


def read_contours(path: str | os.PathLike[str], roi_name_pattern: str) -> Contours:
    """Read the closed contours of the one region whose name matches.

    Args:
        path: an RTSTRUCT file.
        roi_name_pattern: regular expression, found anywhere in the name, upper and lower case alike; `^GTV$` is exact.

    Raises:
        BadInput: the file is no readable RTSTRUCT, no or several names match, or the region has no closed contour.
    """
    dataset = _read_rtstruct(path)
    entry = _matching_roi(dataset, roi_name_pattern, Path(path))
    roi, frame = str(entry.ROIName), entry.get("ReferencedFrameOfReferenceUID")
    if not frame:
        raise BadInput(f"{path}, ROI {roi}: expected a ReferencedFrameOfReferenceUID; export the structure set again.")
    items = [
        contour
        for item in dataset.get("ROIContourSequence") or []
        if item.get("ReferencedROINumber") == entry.ROINumber
        for contour in item.get("ContourSequence") or []
    ]
    polygons = _closed_polygons(items, f"{path}, ROI {roi}")
    if not polygons:
        raise BadInput(f"{path}, ROI {roi}: expected closed planar contours, but it has none; choose another ROI.")
    return Contours(roi, str(frame), polygons, Path(path))


def rasterize(contours: Contours, grid: Volume, *, frame_of_reference: str | None) -> Mask:
    """The voxels whose centers lie inside an odd number of the contours of their slice.

    A ring inside a ring is therefore a hole, an island inside the hole is inside again, and the two sides of a
    keyhole's channel cancel. An edge belongs to the voxels on its far side only, so that regions that share an edge
    neither overlap nor leave a gap. Coordinates stay continuous: no vertex is rounded to a voxel.

    Args:
        contours: drawn in planes of the grid, along any of its three axes.
        grid: the image on which they were drawn.
        frame_of_reference: that image's FrameOfReferenceUID; None if it is unknown, which is accepted with a warning.

    Returns:
        (X, Y, Z), True inside.

    Raises:
        BadInput: the frames of reference differ, or the contours do not lie in the slices of this grid: oblique,
            outside, midway between two slices, two planes in one slice, or none in every second slice.
        ValueError: there are no contours.
    """
    if not contours.polygons:
        raise ValueError(f"contours: expected at least one polygon of ROI {contours.roi}, got none")
    _require_frame(contours, frame_of_reference)
    indices = [_index_of(points, grid) for points in contours.polygons]
    axis = _slice_axis(indices, contours)
    _require_inside(indices, grid, contours)
    slices = _slices(indices, axis, contours)
    rows, columns = (other for other in range(3) if other != axis)
    shape = grid.shape[axis], grid.shape[rows], grid.shape[columns] + 1
    crossings = np.zeros(shape, np.uint8)
    for points, slice_index in zip(indices, slices, strict=True):
        row, column = _crossings(points[:, rows], points[:, columns])
        np.bitwise_xor.at(crossings[slice_index], (row, column), 1)
    inside = np.bitwise_xor.accumulate(crossings, axis=2)[:, :, :-1].astype(bool)
    return np.ascontiguousarray(np.moveaxis(inside, 0, axis))


def _crossings(row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a closed polygon's edges cross the lines of voxel centers.

    Args:
        row: (N,), row coordinate of each vertex, in voxels.
        column: (N,), column coordinate.

    Returns:
        For each crossing, its row and the first column whose center is not before it.
    """
    ends = np.stack([row, column]), np.stack([np.roll(row, -1), np.roll(column, -1)])
    # Every edge runs upward, so that both directions of a shared edge give bit-identical crossings.
    upward = ends[0][0] < ends[1][0]
    low, high = np.where(upward, *ends), np.where(upward, *ends[::-1])
    first = np.ceil(low[0]).astype(int)
    count = np.ceil(high[0]).astype(int) - first
    edge = np.repeat(np.arange(len(row)), count)
    line = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (high[1] - low[1])[edge] / (high[0] - low[0])[edge]
    return line, np.ceil(low[1][edge] + (line - low[0][edge]) * slope).astype(int)


def _read_rtstruct(path: str | os.PathLike[str]) -> pydicom.Dataset:
    dataset = read_header(path)
    if dataset.Modality != "RTSTRUCT":
        raise BadInput(f"{path}: expected modality RTSTRUCT, got {dataset.Modality}; give the structure set's file.")
    return dataset


def _matching_roi(dataset: pydicom.Dataset, pattern: str, path: Path) -> pydicom.Dataset:
    entries = list(dataset.get("StructureSetROISequence") or [])
    found = [entry for entry in entries if re.search(pattern, str(entry.get("ROIName") or ""), re.IGNORECASE)]
    if len(found) != 1:
        names = ", ".join(repr(str(entry.get("ROIName") or "")) for entry in found or entries) or "no ROI at all"
        have = "these match" if found else "the file has"
        raise BadInput(
            f"{path}: expected one ROI that matches {pattern!r}, but {len(found)} do ({have}: {names}); "
            "change the pattern."
        )
    return found[0]


def _closed_polygons(items: list[pydicom.Dataset], name: str) -> tuple[np.ndarray, ...]:
    polygons, skipped = [], []
    for number, item in enumerate(items, start=1):
        kind = str(item.get("ContourGeometricType") or "of no type")
        points = _points(item, f"{name}, contour {number}") if kind in AREA_TYPES else np.empty((0, 3))
        if len(points) >= 3:
            polygons.append(points)
        else:
            skipped.append(f"{number} ({kind})")
    if skipped:
        log.warning("%s: %d contours enclose no area and are skipped: %s.", name, len(skipped), ", ".join(skipped))
    return tuple(polygons)


def _points(item: pydicom.Dataset, name: str) -> np.ndarray:
    try:
        numbers = np.array(item.get("ContourData") or [], float)
        points = numbers.reshape(-1, 3)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{name}: expected triples of numbers in ContourData; export it again.") from error
    if not np.isfinite(points).all():
        raise BadInput(f"{name}: expected finite numbers in ContourData; export it again.")
    return ras_from_lps(points)


def _require_frame(contours: Contours, frame_of_reference: str | None) -> None:
    if frame_of_reference is None:
        log.warning("%s: the image's frame of reference is unknown; its coordinates are trusted.", contours.name)
    elif frame_of_reference != contours.frame_of_reference:
        raise BadInput(
            f"{contours.name}: expected contours in the image's frame of reference, but they were drawn in another; "
            "choose the image they were drawn on or register the two."
        )


def _index_of(points: np.ndarray, grid: Volume) -> np.ndarray:
    """RAS coordinates in mm as continuous voxel indices, (N, 3)."""
    to_index = np.linalg.inv(grid.affine)
    return np.round(points @ to_index[:3, :3].T + to_index[:3, 3], INDEX_DECIMALS)


def _slice_axis(indices: list[np.ndarray], contours: Contours) -> int:
    """The grid's axis across which all contours are flat."""
    spread = np.max([np.ptp(points, axis=0) for points in indices], axis=0)
    axis = int(spread.argmin())
    if spread[axis] > PLANE_TOLERANCE:
        raise BadInput(
            f"{contours.name}: expected contours in planes of the image, but they span {spread[axis]:.2f} slices; "
            "choose the image they were drawn on."
        )
    return axis


def _require_inside(indices: list[np.ndarray], grid: Volume, contours: Contours) -> None:
    points = np.concatenate(indices)
    low, high = points.min(axis=0), points.max(axis=0)
    if (low < -0.5).any() or (high > np.array(grid.shape) - 0.5).any():
        raise BadInput(
            f"{contours.name}: expected contours within the image, but they reach voxels {low.round(1).tolist()} to "
            f"{high.round(1).tolist()} of {list(grid.shape)}; choose the image they were drawn on."
        )


def _slices(indices: list[np.ndarray], axis: int, contours: Contours) -> np.ndarray:
    """The slice of each contour, by its position along the axis."""
    positions = np.array([points[:, axis].mean() for points in indices])
    slices = np.round(positions).astype(int)
    off = np.abs(positions - slices)
    if off.max() > HALF_A_SLICE:
        raise BadInput(
            f"{contours.name}: expected contours in slices of the image, but one lies midway between two, at slice "
            f"{positions[off.argmax()]:.2f}; choose the image it was drawn on."
        )
    if off.max() > PLANE_TOLERANCE:
        log.warning("%s: contours lie up to %.2f slices off the slice they are put in.", contours.name, off.max())
    _require_same_planes(positions, slices, contours)
    return slices


def _require_same_planes(positions: np.ndarray, slices: np.ndarray, contours: Contours) -> None:
    """Refuse contours of a finer stack, which would punch holes into each other, and of a coarser, which leave gaps."""
    used = np.unique(slices)
    apart = max(np.ptp(positions[slices == index]) for index in used)
    if apart > PLANE_TOLERANCE:
        raise BadInput(
            f"{contours.name}: expected one plane of contours per slice, but planes {apart:.2f} slices apart fall into "
            "one; choose the image they were drawn on."
        )
    if len(used) > 2 and np.diff(used).min() > 1:
        raise BadInput(
            f"{contours.name}: expected contours in neighboring slices, but they are {np.diff(used).min()} or more "
            "slices apart; choose the image they were drawn on."
        )
