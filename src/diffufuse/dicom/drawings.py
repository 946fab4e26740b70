"""What the contours of one slice draw together: islands, holes, one contour twice."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffufuse.dicom.polygons import (
    SAME_WITHIN,
    Relation,
    Scan,
    filled,
    neighbors,
    perimeter,
    relation,
)
from diffufuse.errors import BadInput
from diffufuse.types import Mask

RASTER_ERROR = np.sqrt(0.5)  # of a voxel: no part of a voxel is further from its center


@dataclass(frozen=True)
class Drawing:
    """The contours of one slice, in the order in which they are painted.

    Attributes:
        layers: each holds polygons (N, 2), in voxels, whose union is added where the layer's number is even, and taken
            away where it is odd: what lies inside a layer's polygon, and not in its edge, is in the next layer.
        exclusive: whether a place is instead inside if it lies in an odd number of all polygons.
        repeated: number of contours left out, as they draw another once more.
        area: enclosed area, in voxels, by the lines of the contours; no voxel is counted.
    """

    layers: tuple[tuple[np.ndarray, ...], ...]
    exclusive: bool
    repeated: int
    area: float

    @property
    def is_composed(self) -> bool:
        """Whether there is more than one contour."""
        return len(self.layers) > 1 or len(self.layers[0]) > 1

    def mask(self, shape: tuple[int, int]) -> Mask:
        """Return the voxels (rows, columns) whose centers lie inside."""
        if not self.is_composed:
            return filled(self.layers[0][0], shape)
        mask = np.zeros(shape, bool)
        for depth, polygons in enumerate(self.layers):
            for polygon in polygons:
                if self.exclusive:
                    mask ^= filled(polygon, shape)
                else:
                    mask[filled(polygon, shape)] = depth % 2 == 0
        return mask

    def without_voxel(self, shape: tuple[int, int]) -> int:
        """Return the number of contours around no voxel center."""
        return sum(not filled(polygon, shape).any() for layer in self.layers for polygon in layer)

    def tolerance(self) -> float:
        """Return the most, in voxels, by which area and mask can differ: only voxels on an outline are in part inside.

        All such voxels lie within half their diagonal of the outline.
        """
        lengths = [perimeter(polygon) for layer in self.layers for polygon in layer]
        return float(sum(RASTER_ERROR * length + np.pi * RASTER_ERROR**2 for length in lengths))


def drawing_of(polygons: Sequence[np.ndarray], *, exclusive: Sequence[bool], name: str) -> Drawing:
    """Return what the contours of one slice draw.

    Contours of type CLOSED_PLANAR that overlap in part are united. One that lies wholly inside another is a hole, and
    one in the hole is an island: DICOM asks for a keyhole or CLOSEDPLANAR_XOR there (PS3.3, C.8.8.6.3), but what
    writers and readers of structure sets have long agreed on is a hole. One that is drawn twice, but for a tenth of a
    voxel, counts once. Contours of type CLOSEDPLANAR_XOR are combined as their name says.

    Args:
        polygons: each (N, 2), row and column in voxels.
        exclusive: whether each is of type CLOSEDPLANAR_XOR.
        name: file, region and slice, for messages.

    Raises:
        BadInput: the contours allow two readings of a voxel: types are mixed, a contour of type CLOSEDPLANAR_XOR is
            drawn twice, two contours are almost the same, one crosses the edge of a hole, or one runs around an area
            twice.
    """
    areas = [_area_run_around_once(polygon, name) for polygon in polygons]
    if len(polygons) == 1:
        return Drawing((tuple(polygons),), False, 0, areas[0])
    if len(set(exclusive)) > 1:
        raise BadInput(
            f"{name}: expected contours of one type in a slice, got CLOSED_PLANAR, which are united, beside "
            "CLOSEDPLANAR_XOR; export the structure set with one of them."
        )
    ordered = [polygons[k] for k in np.argsort(areas)[::-1]]
    relations = {
        (larger, smaller): relation(ordered[smaller], ordered[larger]) for larger, smaller in neighbors(ordered)
    }
    if exclusive[0]:
        _require_no_copies(ordered, relations, name)
        groups = _groups(range(len(ordered)), relations)
        odd = sum(Scan([ordered[k] for k in group]).area(_in_odd_number) for group in groups)
        return Drawing((tuple(ordered),), True, 0, odd)
    return _united(ordered, relations, name)


def _united(ordered: Sequence[np.ndarray], relations: Mapping[tuple[int, int], Relation], name: str) -> Drawing:
    """Return the drawing of CLOSED_PLANAR contours, ordered from large to small."""
    copies = {smaller for (_, smaller), how in relations.items() if how is Relation.SAME}
    distinct = {pair: how for pair, how in relations.items() if copies.isdisjoint(pair)}
    around = {
        index: {larger for larger in range(index) if distinct.get((larger, index)) is Relation.WITHIN}
        for index in range(len(ordered))
    }
    for (larger, smaller), how in distinct.items():
        unclear = how in (Relation.ALIKE, Relation.UNCLEAR) or (
            how is Relation.PARTLY and around[larger] != around[smaller]
        )
        if unclear and _holds_a_voxel(ordered[smaller]):
            raise BadInput(
                f"{name}: expected contours that are apart, overlap or lie inside each other, but two are almost the "
                "same or one crosses the edge of a hole, so that they allow two readings; draw the slice again."
            )
    depths: list[int] = []
    for index in range(len(ordered)):
        depths.append(max((depths[larger] + 1 for larger in around[index]), default=0))
    kept = [index for index in range(len(ordered)) if index not in copies]
    layers, area = [], 0.0
    for depth in range(max(depths) + 1):
        members = [index for index in kept if depths[index] == depth]
        layers.append(tuple(ordered[k] for k in members))
        groups = _groups(members, distinct)
        area += (-1) ** depth * sum(Scan([ordered[k] for k in group]).united_area() for group in groups)
    return Drawing(tuple(layers), False, len(copies), area)


def _holds_a_voxel(polygon: np.ndarray) -> bool:
    """Return whether a voxel center lies inside; where none does, no reading of a contour changes the mask."""
    rows, columns = np.ceil(polygon.max(axis=0)).astype(int) + 1
    return bool(filled(polygon, (max(rows, 0), max(columns, 0))).any())


def _groups(members: Sequence[int], pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the groups of polygons that pairs connect, by index; areas of different groups simply add up."""
    group_of = {member: {member} for member in members}
    for first, second in pairs:
        if first in group_of and second in group_of:
            joined = group_of[first] | group_of[second]
            group_of |= dict.fromkeys(joined, joined)
    return [sorted(group) for member, group in group_of.items() if member == min(group)]


def _in_odd_number(turns: np.ndarray) -> np.ndarray:
    odd: np.ndarray = turns.sum(axis=0) % 2 == 1
    return odd


def _require_no_copies(ordered: Sequence[np.ndarray], relations: Mapping[tuple[int, int], Relation], name: str) -> None:
    copies = [smaller for (_, smaller), how in relations.items() if how in (Relation.SAME, Relation.ALIKE)]
    if any(_holds_a_voxel(ordered[index]) for index in copies):
        raise BadInput(
            f"{name}: expected CLOSEDPLANAR_XOR contours that differ, but two are the same or almost, and would "
            "cancel; draw the slice again."
        )


def _area_run_around_once(polygon: np.ndarray, name: str) -> float:
    """Return a contour's area; refuse one that runs around a place twice, which only some readers fill."""
    scan = Scan([polygon])
    twice = scan.area(lambda turns: (turns[0] != 0) & (turns[0] % 2 == 0))
    if twice > SAME_WITHIN * perimeter(polygon):
        raise BadInput(
            f"{name}: expected contours that run around each place once, but one runs twice around {twice:.1f} "
            "voxels; draw the slice again."
        )
    return scan.united_area()
