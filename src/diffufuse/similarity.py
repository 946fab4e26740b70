"""How much two images tell about each other: mutual information where both were acquired.

A matrix maps **RAS mm of the reference to RAS mm of the moving image**.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from diffufuse.types import Affine
from diffufuse.volumes import Volume

BINS = 32
ROBUST_PERCENTILES = (0.5, 99.5)
LEAST_OVERLAP = 0.5


def similarity(moving: Volume, reference: Volume, *, matrix: Affine) -> tuple[float, float]:
    """Mutual information of two images where both were acquired, and how much of them that is.

    `sum p(m, r) log2(p(m, r) / p(m) p(r))` over a joint histogram of 32 x 32 bins between the 0.5th and 99.5th
    percentile of each image, with linear interpolation of the moving image and linear sharing between its bins.

    Args:
        moving: image whose values are interpolated.
        reference: image at whose voxel centers the two are compared.
        matrix: (4, 4), RAS mm of the reference to RAS mm of the moving image.

    Returns:
        Mutual information in bits, at least 0, and the shared field of view over the smaller of the two, 0..1;
        both are 0 if no voxel is shared.
    """
    return Comparison.between(moving, reference).at(matrix)


@dataclass(frozen=True)
class Comparison:
    """What the similarity of two images needs, computed once for many matrices.

    Attributes:
        points: (4, N), homogeneous RAS coordinates of the reference's voxels, mm.
        reference_bins: (N,), bin of each voxel of the reference.
        moving_bins: (X, Y, Z), fractional bin of each voxel of the moving image.
        index_from_mm: (4, 4), RAS mm to voxel index of the moving image.
        full_overlap: voxels of the reference that the smaller field of view could hold.
    """

    points: np.ndarray
    reference_bins: np.ndarray
    moving_bins: np.ndarray
    index_from_mm: np.ndarray
    full_overlap: float

    @classmethod
    def between(cls, moving: Volume, reference: Volume) -> "Comparison":
        """Prepare to compare two images."""
        indices = np.indices(reference.shape).reshape(3, -1)
        points = reference.affine @ np.vstack([indices, np.ones(indices.shape[1])])
        size = abs(np.linalg.det(moving.affine[:3, :3])) * moving.array.size
        voxel = abs(np.linalg.det(reference.affine[:3, :3]))
        return cls(
            points=points,
            reference_bins=np.clip(_bins(reference.array).ravel() + 0.5, 0, BINS - 1).astype(int),
            moving_bins=_bins(moving.array).astype(np.float32),
            index_from_mm=np.linalg.inv(moving.affine),
            full_overlap=min(size / voxel, points.shape[1]),
        )

    def at(self, matrix: Affine) -> tuple[float, float]:
        """Mutual information in bits and overlap under a matrix, as `similarity` gives them."""
        index = (self.index_from_mm @ matrix @ self.points)[:3]
        count = np.array(self.moving_bins.shape)[:, None]
        inside = ((index >= -0.5) & (index <= count - 0.5)).all(axis=0)
        if not inside.any():
            return 0.0, 0.0
        bins = map_coordinates(self.moving_bins, index[:, inside], order=1, mode="nearest")
        overlap = min(1.0, float(np.count_nonzero(inside) / self.full_overlap))
        return _mutual_information_bits(self.reference_bins[inside], bins), overlap

    def worth(self, matrix: Affine) -> float:
        """Bits times overlap: few shared voxels fill the histogram sparsely, which looks like information."""
        bits, overlap = self.at(matrix)
        return bits * overlap if overlap >= LEAST_OVERLAP else 0.0


def _bins(array: np.ndarray) -> np.ndarray:
    low, high = np.percentile(array, ROBUST_PERCENTILES)
    if high <= low:
        low, high = float(array.min()), float(array.max())
    return np.clip((array - low) / max(high - low, 1e-12), 0, 1) * (BINS - 1)


def _mutual_information_bits(first: np.ndarray, second: np.ndarray) -> float:
    lower = np.minimum(second.astype(int), BINS - 2)
    share = second - lower
    cell = first * BINS + lower
    joint = np.bincount(cell, 1 - share, BINS**2) + np.bincount(cell + 1, share, BINS**2)
    joint = joint.reshape(BINS, BINS) / joint.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return max(0.0, float((joint[seen] * np.log2(joint[seen] / independent[seen])).sum()))


def clipped(volume: Volume) -> Volume:
    """The image without its rarest values, which would spread the bins over an empty range."""
    low, high = np.percentile(volume.array, ROBUST_PERCENTILES)
    return volume.with_array(np.clip(volume.array, low, high).astype(np.float32)) if high > low else volume
