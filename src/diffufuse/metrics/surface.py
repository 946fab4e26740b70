"""How far the surfaces of two masks lie apart, mm.

The surface of a mask is those of its voxels that have a background voxel as face neighbor (one of 6 in 3-D, of 4
in 2-D); beyond the image there is background. Distances run between voxel centers.
"""

import math

import numpy as np
from jaxtyping import Float
from scipy import ndimage
from scipy.spatial import cKDTree

from diffufuse.types import Mask, Spacing


def hd95(prediction: Mask, reference: Mask, *, spacing_mm: Spacing, penalty_mm: float) -> float:
    """The distance that 95 % of each surface keeps to the other: max(P95 d(P, R), P95 d(R, P)).

    Args:
        prediction: boolean, 2-D or 3-D.
        reference: boolean, same shape.
        spacing_mm: distance between neighboring voxels along each array axis.
        penalty_mm: the answer where one mask is empty, so that a missed tumor is never left out.

    Returns:
        mm; `penalty_mm` if one mask is empty, NaN if both are.

    Source:
        Huttenlocher et al. 1993, doi:10.1109/34.232073; the percentile is taken in each direction and the larger
        kept, as in MONAI's `compute_hausdorff_distance` (other tools pool both directions and differ).
    """
    if not prediction.any() and not reference.any():
        return math.nan
    if not prediction.any() or not reference.any():
        return penalty_mm
    forth_mm, back_mm = surface_distances(prediction, reference, spacing_mm=spacing_mm)
    return float(max(np.percentile(forth_mm, 95), np.percentile(back_mm, 95)))


def surface_distances(
    prediction: Mask, reference: Mask, *, spacing_mm: Spacing
) -> tuple[Float[np.ndarray, "p"], Float[np.ndarray, "r"]]:
    """Distance of every surface voxel of each mask to the nearest surface voxel of the other.

    Args:
        prediction: boolean, not empty.
        reference: boolean, not empty, same shape.
        spacing_mm: distance between neighboring voxels along each array axis.

    Returns:
        One distance in mm per surface voxel: prediction to reference, and reference to prediction.
    """
    box = _bounding_box(prediction | reference)
    predicted, referred = (surface(mask[box]) for mask in (prediction, reference))
    return (
        _nearest_mm(predicted, referred, spacing_mm=spacing_mm),
        _nearest_mm(referred, predicted, spacing_mm=spacing_mm),
    )


def surface(mask: Mask) -> Mask:
    """The voxels of a mask that have a background face neighbor; the image's border counts as background."""
    return mask & ~ndimage.binary_erosion(mask)


def _nearest_mm(points: Mask, targets: Mask, *, spacing_mm: Spacing) -> Float[np.ndarray, "p"]:
    tree = cKDTree(np.argwhere(targets) * np.asarray(spacing_mm))
    distance_mm, _ = tree.query(np.argwhere(points) * np.asarray(spacing_mm))
    return distance_mm


def _bounding_box(mask: Mask) -> tuple[slice, ...]:
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    return box
