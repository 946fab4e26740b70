"""Bounding boxes of masks; metrics are computed within them, as a tumor fills about one percent of its image."""

import numpy as np

from diffufuse.types import Mask

Box = tuple[slice, ...]


def box_of(*masks: Mask) -> Box:
    """Bounding box of the true voxels of all masks.

    Args:
        masks: boolean, of one shape, any number of dimensions.

    Returns:
        One slice per axis; of length 0 if all masks are empty.
    """
    boxes = [box for mask in masks if (box := _box(mask))]
    if not boxes:
        return (slice(0, 0),) * masks[0].ndim
    along = zip(*boxes, strict=True)
    return tuple(slice(min(side.start for side in axis), max(side.stop for side in axis)) for axis in along)


def _box(mask: Mask) -> Box | None:
    """Bounding box of one mask, narrowed axis by axis; None if the mask is empty."""
    box = [slice(None)] * mask.ndim
    # the axis with contiguous planes comes first: only for it the whole mask is read
    for axis in sorted(range(mask.ndim), key=lambda axis: -abs(mask.strides[axis])):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        occupied = np.flatnonzero(mask[tuple(box)].any(axis=others))
        if not occupied.size:
            return None
        box[axis] = slice(int(occupied[0]), int(occupied[-1]) + 1)
    return tuple(box)
