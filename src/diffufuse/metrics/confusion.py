"""Voxel counts of a prediction against a reference."""

from typing import NamedTuple

import numpy as np

from diffufuse.types import Mask


class Confusion(NamedTuple):
    """Voxel counts of a prediction against a reference.

    Attributes:
        shared: voxels in both masks (true positive).
        extra: voxels in the prediction alone (false positive).
        lacking: voxels in the reference alone (false negative).
    """

    shared: int
    extra: int
    lacking: int

    @property
    def dice(self) -> float:
        """Twice the shared volume over the sum of both volumes, 0..1; 1 if both masks are empty."""
        volumes = 2 * self.shared + self.extra + self.lacking
        return 2 * self.shared / volumes if volumes else 1.0


def confusion(prediction: Mask, reference: Mask) -> Confusion:
    """Voxel counts, the common input of Dice, IoU, precision and recall.

    Args:
        prediction: boolean, any number of dimensions.
        reference: boolean, same shape.
    """
    shared = int(np.count_nonzero(prediction & reference))
    extra = int(np.count_nonzero(prediction)) - shared
    lacking = int(np.count_nonzero(reference)) - shared
    return Confusion(shared, extra, lacking)
