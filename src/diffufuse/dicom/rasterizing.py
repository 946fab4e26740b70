"""Rasterize contours onto the voxel grid of an image."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from diffufuse.dicom.drawings import Drawing, drawing_of
from diffufuse.dicom.rtstruct import Contours
from diffufuse.errors import BadInput
from diffufuse.space.volumes import Volume
from diffufuse.types import Mask

log = logging.getLogger(__name__)

PLANE_TOLERANCE = 0.1  # of a slice
HALF_A_SLICE = 0.499
INDEX_DECIMALS = 6  # rounding noise must not decide on which side of a contour a voxel center lies


@dataclass(frozen=True)
class Placed:
    """The contours of a region in the slices of a grid.

    Attributes:
        name: file and region, for messages.
        drawings: slice index to what its contours draw, in continuous voxel coordinates of the slice.
        positions: slice index to the exact position of its contours, in slices.
        axis: grid axis across which the slices are stacked.
        off_slices: largest distance of a contour from its slice, in slices.
    """

    name: str
    drawings: Mapping[int, Drawing]
    positions: Mapping[int, float]
    axis: int
    off_slices: float

    @property
    def repeated(self) -> int:
        """Number of contours that draw another one again and are left out."""
        return sum(drawing.repeated for drawing in self.drawings.values())


@dataclass(frozen=True)
class Filled:
    """A mask, and what of the contours it does not show.

    Attributes:
        mask: (X, Y, Z), True inside.
        without_voxel: number of contours around no voxel center.
        left_out: number of slices without contours between two whose contours overlap.
    """

    mask: Mask
    without_voxel: int
    left_out: int


def rasterize(contours: Contours, grid: Volume, *, frame_of_reference: str | None) -> Mask:
    """Rasterize contours: a voxel is inside if its center is. Vertices are not rounded to voxels.

    A ring inside a ring is a hole, an island in the hole is inside again, and the two sides of a keyhole's channel
    cancel; contours that overlap in part are united (see `drawing_of`). Regions that share an edge neither overlap nor
    leave a gap.

    Args:
        contours: drawn in planes of the grid, along any of its three axes.
        grid: the image on which they were drawn.
        frame_of_reference: FrameOfReferenceUID of the image; None if unknown, which is accepted with a warning.

    Returns:
        (X, Y, Z), True inside.

    Raises:
        BadInput: the frames of reference differ; the contours do not fit the slices of this grid: oblique, outside,
            midway between two slices, two planes in one slice, or of a coarser stack; or they allow two readings.
        ValueError: there are no contours.
    """
    return fill(place(contours, grid, frame_of_reference=frame_of_reference), grid).mask


def place(contours: Contours, grid: Volume, *, frame_of_reference: str | None) -> Placed:
    """Assign each contour to its slice; arguments and exceptions are those of `rasterize`."""
    if not contours.polygons:
        raise ValueError(f"contours: expected at least one polygon of ROI {contours.roi}, got none")
    require_frame(contours.name, contours.frame_of_reference, frame_of_reference)
    indices = _indices_of(contours.polygons, grid)
    axis = _slice_axis(indices, contours)
    _require_inside(indices, grid, contours)
    exact = np.array([points[:, axis].mean() for points in indices])
    slices = _slices(exact, contours)
    within = [other for other in range(3) if other != axis]
    drawings, positions = {}, {}
    for index in map(int, np.unique(slices)):
        here = np.flatnonzero(slices == index)
        drawings[index] = drawing_of(
            [indices[k][:, within] for k in here],
            exclusive=[contours.is_exclusive(k) for k in here],
            name=f"{contours.name}, slice {index}",
        )
        positions[index] = float(exact[here].mean())
    placed = Placed(contours.name, drawings, positions, axis, float(np.abs(exact - slices).max()))
    if placed.repeated:
        log.warning("%s: %d contours draw another one again and are left out.", contours.name, placed.repeated)
    return placed


def fill(placed: Placed, grid: Volume) -> Filled:
    """Return the mask of voxels whose centers lie inside the contours.

    Raises:
        BadInput: the contours are of a coarser stack, or area and mask of a slice differ by more than the voxels on
            the outlines can explain.
    """
    mask = np.zeros(grid.shape, bool)
    without_voxel = 0
    view = np.moveaxis(mask, placed.axis, 0)
    for index, drawing in placed.drawings.items():
        inside = drawing.mask(view.shape[1:])
        view[index] = inside
        drawn, filled = drawing.area, int(np.count_nonzero(inside))
        without_voxel += drawing.without_voxel(view.shape[1:]) if drawing.is_composed else not filled
        if abs(drawn - filled) > drawing.tolerance():
            raise BadInput(
                f"{placed.name}, slice {index}: expected a mask as large as its contours, got "
                f"{grid.milliliters(filled):.3f} ml where {grid.milliliters(drawn):.3f} ml are drawn; draw the slice "
                "again."
            )
    if without_voxel:
        log.warning("%s: %d contours hold no voxel center.", placed.name, without_voxel)
    return Filled(mask, without_voxel, require_own_stack(placed.name, mask, placed.axis, placed.positions))


def drawn_ml(placed: Placed, grid: Volume) -> float:
    """Return the volume enclosed by the contours, ml, from their area in each slice; holes are subtracted."""
    return grid.milliliters(sum(drawing.area for drawing in placed.drawings.values()))


def require_own_stack(name: str, mask: Mask, axis: int, positions: Mapping[int, float]) -> int:
    """Return how many slices a region leaves out; raise if it was drawn on a coarser stack, which would leave gaps.

    Slices in use are of a coarser stack if none are neighbors, they follow at multiples of one distance, and the region
    goes on across a gap, that is, overlaps before and after it. Lesions apart from each other do not.

    Args:
        name: file and region, for messages.
        mask: (X, Y, Z), the region.
        axis: grid axis across which the slices are stacked.
        positions: slice index to exact position, in slices, of each slice in use.

    Returns:
        Number of slices left out between two in which the region overlaps.

    Raises:
        BadInput: the region was drawn on a coarser stack.
    """
    used, view = sorted(positions), np.moveaxis(mask, axis, 0)
    bridged = [
        after - before - 1
        for before, after in pairwise(used)
        if after - before > 1 and (view[before] & view[after]).any()
    ]
    if not bridged:
        return 0
    steps = np.diff([positions[index] for index in used])
    ratios = steps / steps.min()
    regular = np.abs(ratios - np.round(ratios)).max() < PLANE_TOLERANCE
    if len(used) > 2 and np.diff(used).min() > 1 and regular:
        raise BadInput(
            f"{name}: expected a region in neighboring slices, but its slices are {np.diff(used).min()} or more apart, "
            "as in a coarser stack; choose the image it was drawn on."
        )
    log.warning("%s: %d slices are left out between two in which the region overlaps.", name, sum(bridged))
    return sum(bridged)


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
    """Raise for contours of a finer stack, several planes of which fall into one slice."""
    used = np.unique(slices)
    apart = max(np.ptp(positions[slices == index]) for index in used)
    if apart > PLANE_TOLERANCE:
        raise BadInput(
            f"{contours.name}: expected one plane of contours per slice, but planes {apart:.2f} slices apart fall into "
            "one; choose the image they were drawn on."
        )
