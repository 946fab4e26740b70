"""The smallest box that holds a mask: a tumor fills a percent of its image, and beyond there is nothing to do."""

import numpy as np

from diffufuse.types import Mask

Box = tuple[slice, ...]


def box_of(*masks: Mask) -> Box:
    """The smallest box that holds every true voxel of all masks.

    Args:
        masks: boolean, of one shape, any number of dimensions.

    Returns:
        One slice per axis; of no length if all masks are empty.
    """
    boxes = [box for mask in masks if (box := _box(mask))]
    if not boxes:
        return (slice(0, 0),) * masks[0].ndim
    along = zip(*boxes, strict=True)
    return tuple(slice(min(side.start for side in axis), max(side.stop for side in axis)) for axis in along)


def _box(mask: Mask) -> Box | None:
    """The box of one mask, narrowed along one axis after the other; None if it is empty."""
    box = [slice(None)] * mask.ndim
    # the axis whose planes lie whole in memory first: only there the whole mask is read
    for axis in sorted(range(mask.ndim), key=lambda axis: -abs(mask.strides[axis])):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        held = np.flatnonzero(mask[tuple(box)].any(axis=others))
        if not held.size:
            return None
        box[axis] = slice(int(held[0]), int(held[-1]) + 1)
    return tuple(box)
