"""Areas of polygons in the plane of a slice, and how two of them lie to each other."""

from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np

from diffufuse.types import Mask

STRIP = 1 / 4  # of a voxel; widths are linear between two rows of vertices, but for edges that intersect
SAME_WITHIN = 0.1  # distance of two outlines, in voxels, within which they coincide
DIFFER_LEAST = 0.5  # mean distance of two outlines, in voxels, from which both are meant
SHARE_OF_AREA = 0.25  # so that tolerances along an outline do not exceed a small area
MOST_OVERLAP = 0.95  # share of the smaller of two contours that are united
MOST_ALONG = 0.25  # share of a hole's outline on that around it
POINTS_PER_VOXEL = 4


class Relation(Enum):
    """How a polygon lies to another that is not smaller."""

    APART = "apart"
    SAME = "same"
    ALIKE = "alike"
    WITHIN = "within"
    PARTLY = "partly"
    UNCLEAR = "unclear"


def filled(polygon: np.ndarray, shape: tuple[int, int]) -> Mask:
    """Return the mask of voxels whose centers lie inside a polygon, by the even-odd rule.

    Args:
        polygon: (N, 2), row and column of each vertex, in voxels, none further than half a voxel outside the mask.
        shape: rows and columns.

    Returns:
        (rows, columns), True inside.
    """
    mask = np.zeros(shape, bool)
    line, column, _ = _crossings(polygon, np.arange(shape[0]))
    if not len(line):
        return mask
    after = np.ceil(column).astype(int)
    top, left = line.min(), after.min()
    # The last column holds only right-hand edges, so that what lies outside the grid is never inside a contour.
    flips = np.zeros((line.max() - top + 1, after.max() - left + 1), np.uint8)
    np.bitwise_xor.at(flips, (line - top, after - left), 1)
    inside = np.bitwise_xor.accumulate(flips[:, :-1], axis=1)
    mask[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return mask


def perimeter(polygon: np.ndarray) -> float:
    """Return the length of a closed polygon's outline."""
    return float(np.linalg.norm(np.roll(polygon, -1, axis=0) - polygon, axis=1).sum())


class Scan:
    """Polygons cut into strips of equal row, in which areas are measured; exact if no two edges intersect."""

    def __init__(self, polygons: Sequence[np.ndarray]) -> None:
        """Cut polygons, each (N, 2), into strips."""
        rows = np.concatenate([polygon[:, 0] for polygon in polygons])
        limits = np.unique(np.concatenate([rows, np.arange(rows.min(), rows.max(), STRIP)]))
        crossed = [_crossings(polygon, (limits[:-1] + limits[1:]) / 2) for polygon in polygons]
        strip, column, direction = (np.concatenate(part) for part in zip(*crossed, strict=True))
        order = np.lexsort((column, strip))
        owner = np.repeat(np.arange(len(polygons)), [len(part[0]) for part in crossed])[order]
        turns = np.zeros((len(polygons), len(order)), np.int16)
        turns[owner, np.arange(len(order))] = direction[order]
        # Every polygon ends each strip outside of itself, so that the sums need not start anew.
        self._turns = np.cumsum(turns, axis=1, dtype=np.int16)[:, :-1]
        self._areas = np.diff(column[order]) * np.diff(limits)[strip[order][:-1]]

    def area(self, inside: Callable[[np.ndarray], np.ndarray]) -> float:
        """Return the area where a condition holds.

        Args:
            inside: is given (polygons, P), how often each polygon runs around each of P places, with its sign;
                returns (P,), whether the condition holds there.
        """
        return float(self._areas[inside(self._turns)].sum())

    def united_area(self) -> float:
        """Return the area inside at least one polygon, by the even-odd rule."""
        return self.area(_in_any)


def neighbors(polygons: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Return the pairs of polygons whose boxes meet, by index, the first below the second; others lie apart."""
    low = np.array([polygon.min(axis=0) for polygon in polygons])
    high = np.array([polygon.max(axis=0) for polygon in polygons])
    meet = (low[:, None] <= high[None]).all(axis=2)
    first, second = np.nonzero(np.triu(meet & meet.T, k=1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


def relation(smaller: np.ndarray, larger: np.ndarray) -> Relation:
    """Return how a polygon lies to one of no smaller area.

    Outlines whose mean distance is less than `SAME_WITHIN` of a voxel are taken to coincide.

    Returns:
        `ALIKE` if one is almost the other, so that it may be a copy; `UNCLEAR` if one lies almost wholly inside the
        other, or inside it and along its edge, so that it may be an addition, a part or a hole.
    """
    both = Scan([smaller, larger])
    area, whole, common = (both.area(inside) for inside in (_in_first, _in_second, _in_both))
    length = (perimeter(smaller) + perimeter(larger)) / 2
    distance = (area + whole - 2 * common) / max(length, np.finfo(float).tiny)
    if common <= min(SAME_WITHIN * perimeter(smaller), SHARE_OF_AREA * area):
        return Relation.APART
    if distance <= SAME_WITHIN:
        return Relation.SAME
    if distance < DIFFER_LEAST:
        return Relation.ALIKE
    out, along = _shares(smaller, larger)
    if not out:
        return Relation.WITHIN if along < MOST_ALONG else Relation.UNCLEAR
    return Relation.PARTLY if common <= MOST_OVERLAP * area else Relation.UNCLEAR


def _in_any(turns: np.ndarray) -> np.ndarray:
    inside: np.ndarray = np.bitwise_or.reduce(turns & 1, axis=0) == 1
    return inside


def _in_first(turns: np.ndarray) -> np.ndarray:
    return turns[0] % 2 == 1


def _in_second(turns: np.ndarray) -> np.ndarray:
    return turns[1] % 2 == 1


def _in_both(turns: np.ndarray) -> np.ndarray:
    return _in_first(turns) & _in_second(turns)


def _shares(smaller: np.ndarray, larger: np.ndarray) -> tuple[float, float]:
    """Return the shares of an outline that lie outside of another polygon, and on its outline."""
    steps = np.roll(smaller, -1, axis=0) - smaller
    lengths = np.linalg.norm(steps, axis=1)
    counts = np.ceil(lengths * POINTS_PER_VOXEL).astype(int)
    edge = np.repeat(np.arange(len(smaller)), counts)
    ahead = (np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + 0.5) / counts[edge]
    points, weights = smaller[edge] + ahead[:, None] * steps[edge], (lengths / np.maximum(counts, 1))[edge]
    near, inside = np.zeros(len(points), bool), np.zeros(len(points), bool)
    starts, ends = _edges_beside(larger, points)
    for start, end in zip(starts, ends, strict=True):
        along = end - start
        position = np.clip((points - start) @ along / max(along @ along, np.finfo(float).tiny), 0, 1)
        near |= np.linalg.norm(points - start - position[:, None] * along, axis=1) <= SAME_WITHIN
        if along[0]:
            between = (start[0] <= points[:, 0]) != (end[0] <= points[:, 0])
            inside ^= between & (start[1] + (points[:, 0] - start[0]) * along[1] / along[0] > points[:, 1])
    whole = weights.sum()
    return float(weights[~inside & ~near].sum() / whole), float(weights[near].sum() / whole)


def _edges_beside(polygon: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return start and end, each (N, 2), of the edges that may lie near a point, or in its row at a larger column."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    low, high = np.minimum(start, end), np.maximum(start, end)
    least, most = points.min(axis=0) - SAME_WITHIN, points.max(axis=0) + SAME_WITHIN
    beside = (high >= least).all(axis=1) & (low[:, 0] <= most[0])
    return start[beside], end[beside]


def _crossings(polygon: np.ndarray, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the crossings of a closed polygon with lines of equal row.

    Args:
        polygon: (N, 2), row and column of each vertex.
        lines: (M,), ascending row coordinates.

    Returns:
        For each crossing, the index of its line, its column, and 1 where the polygon runs to larger rows, else -1.
    """
    start, end = polygon.T, np.roll(polygon, -1, axis=0).T
    # Every edge runs upward, so that both directions of a shared edge give bit-identical crossings.
    upward = start[0] < end[0]
    low, high = np.where(upward, start, end), np.where(upward, end, start)
    first = np.searchsorted(lines, low[0])
    count = np.searchsorted(lines, high[0]) - first
    edge = np.repeat(np.arange(len(polygon)), count)
    line = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (high[1] - low[1])[edge] / (high[0] - low[0])[edge]
    return line, low[1][edge] + (lines[line] - low[0][edge]) * slope, np.where(upward[edge], 1, -1)
