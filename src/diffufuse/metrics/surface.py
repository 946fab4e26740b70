"""Distances between the surfaces of two masks, mm.

The surface of a mask is those of its voxels that have a background voxel as face neighbor (one of 6 in 3-D, of 4
in 2-D); beyond the image there is background. Distances run between voxel centers.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from diffufuse.metrics.boxes import box_of
from diffufuse.types import Mask, Spacing

TOLERANCE_MM = 2.0
ROUNDING_MM = 1e-6
LEAF = 32


class SurfaceDistances(NamedTuple):
    """Distance of every surface voxel of each mask to the nearest surface voxel of the other, mm.

    Attributes:
        forth_mm: (P,) from the prediction's surface to the reference's; empty if the prediction is.
        back_mm: (R,) from the reference's surface to the prediction's; empty if the reference is.
    """

    forth_mm: Float[np.ndarray, " p"]
    back_mm: Float[np.ndarray, " r"]


def hd95(distances: SurfaceDistances, *, penalty_mm: float) -> float:
    """95th percentile of the Hausdorff distance: max(P95 d(P, R), P95 d(R, P)).

    Args:
        distances: between the two surfaces.
        penalty_mm: the value where one mask is empty, so that a missed tumor still counts.

    Returns:
        mm; `penalty_mm` if one mask is empty, NaN if both are.

    Source:
        Huttenlocher et al. 1993, doi:10.1109/34.232073; the percentile is taken in each direction and the larger
        kept, as in MONAI's `compute_hausdorff_distance` (other tools pool both directions and differ).
    """
    forth_mm, back_mm = distances
    if not (forth_mm.size and back_mm.size):
        return penalty_mm if forth_mm.size or back_mm.size else math.nan
    return float(max(np.percentile(forth_mm, 95), np.percentile(back_mm, 95)))


def assd(distances: SurfaceDistances, *, penalty_mm: float) -> float:
    """Average symmetric surface distance: the mean over the surface voxels of both masks.

    Args:
        distances: between the two surfaces.
        penalty_mm: the value where one mask is empty.

    Returns:
        mm; `penalty_mm` if one mask is empty, NaN if both are.

    Source:
        Heimann et al. 2009, doi:10.1109/TMI.2009.2013851; not the mean of the two directions' means.
    """
    forth_mm, back_mm = distances
    if not (forth_mm.size and back_mm.size):
        return penalty_mm if forth_mm.size or back_mm.size else math.nan
    return float(np.concatenate(distances).mean())


def nsd(distances: SurfaceDistances, *, tolerance_mm: float = TOLERANCE_MM) -> float:
    """Normalized surface distance: the share of both surfaces that lies within 2 mm of the other.

    Args:
        distances: between the two surfaces.
        tolerance_mm: largest accepted distance; plus 1e-6 mm for floating-point error (five voxels of 0.4 mm).

    Returns:
        0..1; 0 if one mask is empty, NaN if both are.

    Source:
        Nikolov et al. 2021, doi:10.2196/26151; each surface voxel counts alike, as in MONAI's `compute_surface_dice`.
    """
    both_mm = np.concatenate(distances)
    return float((both_mm <= tolerance_mm + ROUNDING_MM).mean()) if both_mm.size else math.nan


def surface_distances(prediction: Mask, reference: Mask, *, spacing_mm: Spacing) -> SurfaceDistances:
    """Distance of every surface voxel of each mask to the nearest surface voxel of the other.

    Args:
        prediction: boolean, 2-D or 3-D.
        reference: boolean, same shape.
        spacing_mm: distance between neighboring voxels along each array axis.

    Returns:
        In the order of the voxels; infinite to an empty surface.
    """
    box = box_of(prediction, reference)
    predicted_surface, reference_surface = (surface(mask[box]) for mask in (prediction, reference))
    return SurfaceDistances(
        _nearest_mm(predicted_surface, reference_surface, spacing_mm=spacing_mm),
        _nearest_mm(reference_surface, predicted_surface, spacing_mm=spacing_mm),
    )


def surface(mask: Mask) -> Mask:
    """The voxels of a mask that have a background face neighbor; the image's border counts as background."""
    padded, inner = np.pad(mask, 1), mask.copy()
    middle = [slice(1, -1)] * mask.ndim
    for axis in range(mask.ndim):
        for neighbor in (slice(None, -2), slice(2, None)):
            inner &= padded[(*middle[:axis], neighbor, *middle[axis + 1 :])]
    return mask & ~inner


def _nearest_mm(points: Mask, targets: Mask, *, spacing_mm: Spacing) -> Float[np.ndarray, " p"]:
    """Distance of each point to the nearest target; a k-d tree is faster than a distance map unless masks are noise."""
    distance_mm = np.where(targets[points], 0.0, math.inf)
    if targets.any():
        tree = cKDTree(np.argwhere(targets) * np.asarray(spacing_mm), leafsize=LEAF, balanced_tree=False)
        distance_mm[distance_mm > 0], _ = tree.query(np.argwhere(points & ~targets) * np.asarray(spacing_mm))
    return distance_mm
