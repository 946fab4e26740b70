"""Rasterize contours onto the voxel grid of an image."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffufuse.dicom.rtstruct import Contours
from diffufuse.errors import BadInput
from diffufuse.space.volumes import Volume
from diffufuse.types import Mask

log = logging.getLogger(__name__)

PLANE_TOLERANCE = 0.1  # of a slice
HALF_A_SLICE = 0.499
INDEX_DECIMALS = 6  # rounding noise must not decide on which side of a contour a voxel center lies
MM3_PER_ML = 1000.0


@dataclass(frozen=True)
class Placed:
    """Contours in voxel coordinates of a grid.

    Attributes:
        polygons: each (N, 2), continuous voxel coordinates within its slice, along `rows` and `columns`.
        slices: (polygons,), slice index of each polygon.
        axis: grid axis across which the slices are stacked.
        off_slices: largest distance of a contour from its slice, in slices.
    """

    polygons: tuple[np.ndarray, ...]
    slices: np.ndarray
    axis: int
    off_slices: float


def rasterize(contours: Contours, grid: Volume, *, frame_of_reference: str | None) -> Mask:
    """Rasterize contours: a voxel is inside if its center lies in an odd number of contours of its slice.

    By this even-odd rule a ring inside a ring is a hole, an island in the hole is inside again, and the two sides of a
    keyhole's channel cancel. Regions that share an edge neither overlap nor leave a gap. Vertices are not rounded to
    voxels.

    Args:
        contours: drawn in planes of the grid, along any of its three axes.
        grid: the image on which they were drawn.
        frame_of_reference: FrameOfReferenceUID of the image; None if unknown, which is accepted with a warning.

    Returns:
        (X, Y, Z), True inside.

    Raises:
        BadInput: the frames of reference differ, or the contours do not fit the slices of this grid: oblique, outside,
            midway between two slices, two planes in one slice, none in every second slice, or duplicated.
        ValueError: there are no contours.
    """
    return fill(place(contours, grid, frame_of_reference=frame_of_reference), grid)


def place(contours: Contours, grid: Volume, *, frame_of_reference: str | None) -> Placed:
    """Assign each contour to its slice; arguments and exceptions are those of `rasterize`."""
    if not contours.polygons:
        raise ValueError(f"contours: expected at least one polygon of ROI {contours.roi}, got none")
    require_frame(contours.name, contours.frame_of_reference, frame_of_reference)
    indices = _indices_of(contours.polygons, grid)
    axis = _slice_axis(indices, contours)
    _require_inside(indices, grid, contours)
    positions = np.array([points[:, axis].mean() for points in indices])
    slices = _slices(positions, contours)
    within = [other for other in range(3) if other != axis]
    placed = Placed(
        tuple(points[:, within] for points in indices), slices, axis, float(np.abs(positions - slices).max())
    )
    _require_distinct(placed, contours)
    return placed


def fill(placed: Placed, grid: Volume) -> Mask:
    """Return the mask (X, Y, Z) of voxels whose centers lie in an odd number of contours of their slice."""
    crossings_by_polygon = [_crossings(points[:, 0], points[:, 1]) for points in placed.polygons]
    mask = np.zeros(grid.shape, bool)
    planes = np.repeat(placed.slices, [len(row) for row, _ in crossings_by_polygon])
    crossings = np.stack([planes, *(np.concatenate(part) for part in zip(*crossings_by_polygon, strict=True))])
    if crossings.shape[1] == 0:
        return mask
    low, high = crossings.min(axis=1), crossings.max(axis=1)
    box = np.zeros(high - low + 1, np.uint8)
    np.bitwise_xor.at(box, tuple(crossings - low[:, None]), 1)
    inside = np.bitwise_xor.accumulate(box, axis=2).astype(bool)
    # The last column holds only right-hand edges, so that what lies outside the grid is never inside a contour.
    where = tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))
    view = np.moveaxis(mask, placed.axis, 0)
    view[where] = inside[:, :, : view.shape[2] - low[2]]
    return mask


def drawn_ml(placed: Placed, grid: Volume) -> float:
    """Return the volume enclosed by the contours, ml, by the shoelace formula; holes are subtracted.

    Exact for contours that do not intersect each other or themselves.
    """
    areas = 0.0
    for index in np.unique(placed.slices):
        polygons = [points for points, z in zip(placed.polygons, placed.slices, strict=True) if z == index]
        for position, points in enumerate(polygons):
            others = polygons[:position] + polygons[position + 1 :]
            depth = sum(_encloses(other, points[0]) for other in others)
            areas += (-1) ** depth * abs(_signed_area(points))
    return areas * float(np.prod(grid.spacing_mm)) / MM3_PER_ML


def require_frame(name: str, drawn_in: str, frame_of_reference: str | None) -> None:
    """Raise if contours and image have different frames of reference.

    Args:
        name: file and region, for messages.
        drawn_in: FrameOfReferenceUID of the contours.
        frame_of_reference: that of the image; None if unknown, which is accepted with a warning.

    Raises:
        BadInput: they differ, or the image's is empty.
    """
    if frame_of_reference is None:
        log.warning("%s: the image's frame of reference is unknown; its coordinates are trusted.", name)
    elif not frame_of_reference:
        raise BadInput(f"{name}: expected an image with a FrameOfReferenceUID, got none; export the image again.")
    elif frame_of_reference != drawn_in:
        raise BadInput(
            f"{name}: expected contours in the image's frame of reference, but they were drawn in another; "
            "choose the image they were drawn on or register the two."
        )


def _crossings(row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the crossings of a closed polygon with the lines of voxel centers.

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


def _encloses(polygon: np.ndarray, point: np.ndarray) -> bool:
    """Return whether a point lies inside a polygon, by the parity of crossings."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    crossing = (start[:, 0] <= point[0]) != (end[:, 0] <= point[0])
    origin, step = start[crossing], (end - start)[crossing]
    return bool(np.count_nonzero(origin[:, 1] + (point[0] - origin[:, 0]) * step[:, 1] / step[:, 0] > point[1]) % 2)


def _signed_area(polygon: np.ndarray) -> float:
    (row, column), (rows_ahead, columns_ahead) = (polygon - polygon[0]).T, (np.roll(polygon, -1, 0) - polygon[0]).T
    return float((row * columns_ahead - column * rows_ahead).sum() / 2)


def _indices_of(polygons: Sequence[np.ndarray], grid: Volume) -> list[np.ndarray]:
    """Convert RAS coordinates in mm to continuous voxel indices, each (N, 3)."""
    to_index = np.linalg.inv(grid.affine)
    points = np.round(np.concatenate(polygons) @ to_index[:3, :3].T + to_index[:3, 3], INDEX_DECIMALS)
    return np.split(points, np.cumsum([len(polygon) for polygon in polygons])[:-1])


def _slice_axis(indices: list[np.ndarray], contours: Contours) -> int:
    """Return the grid axis across which all contours are flat."""
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


def _slices(positions: np.ndarray, contours: Contours) -> np.ndarray:
    """Return the slice index of each contour, by its position along the axis."""
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
    """Raise for contours of a finer stack, which would cancel each other, or of a coarser one, which leaves gaps."""
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


def _require_distinct(placed: Placed, contours: Contours) -> None:
    """Raise for duplicate contours, which would cancel by the even-odd rule."""
    pairs = zip(placed.slices, placed.polygons, strict=True)
    copies = len(placed.polygons) - len({(index, points[np.lexsort(points.T)].tobytes()) for index, points in pairs})
    if copies:
        raise BadInput(
            f"{contours.name}: expected each contour once, but {copies} stand there again point by point; remove them."
        )
