"""Similarity of two images: mutual information and agreement of edges.

A matrix maps **RAS mm of the reference to RAS mm of the moving image**.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import map_coordinates

from diffufuse.space.transforms import Transform
from diffufuse.space.volumes import Volume
from diffufuse.types import Affine

BINS = 32
ROBUST_PERCENTILES = (0.5, 99.5)
LEAST_OVERLAP = 0.5
MOST_POINTS = 80_000
EDGE_SHARE = 0.25


@dataclass(frozen=True)
class Similarity:
    """Similarity of two images under one transform.

    Attributes:
        bits: mutual information in the shared field of view, bits, at least 0.
        edges: mean squared cosine between the image gradients at the reference's strongest edges, each damped where
            it is not stronger than the image's mean edge, 0..1; independent directions give about 0.15.
        overlap: shared field of view over the smaller of the two, 0..1.
    """

    bits: float
    edges: float
    overlap: float

    @property
    def objective(self) -> float:
        """Objective: bits times the square root of the overlap.

        It counters the bias of a sparsely filled histogram of few voxels. The overlap without the root would pull small
        fields of view into large ones, by a millimeter on the phantom.
        """
        return self.bits * self.overlap**0.5 if self.overlap >= LEAST_OVERLAP else 0.0


def similarity(moving: Volume, reference: Volume, *, matrix: Affine) -> tuple[float, float]:
    """Return mutual information and overlap of two images in their shared field of view.

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
    likeness = Comparison.between(moving, reference).at(matrix)
    return likeness.bits, likeness.overlap


@dataclass(frozen=True)
class Comparison:
    """Data to compute the similarity of two images, prepared once for many transforms.

    Attributes:
        points: (4, N), homogeneous RAS coordinates of voxels of the reference, mm.
        reference_bins: (N,), histogram bin of each point.
        moving_bins: (X, Y, Z), fractional bin of each voxel of the moving image.
        edge_points: (4, M), voxels of the reference with strong edges, mm.
        reference_edges: (3, M), damped gradient direction at the edge points, RAS.
        moving_edges: (3, X, Y, Z), damped gradient direction at every voxel of the moving image.
        index_from_mm: (4, 4), RAS mm to voxel index of the moving image.
        full_overlap: largest possible fraction of the reference's points in the shared field of view.
    """

    points: np.ndarray
    reference_bins: np.ndarray
    moving_bins: np.ndarray
    edge_points: np.ndarray
    reference_edges: np.ndarray
    moving_edges: np.ndarray
    index_from_mm: np.ndarray
    full_overlap: float

    @classmethod
    def between(cls, moving: Volume, reference: Volume, *, most_points: int = MOST_POINTS) -> "Comparison":
        """Prepare the comparison of two images with at most `most_points` points for bins and for edges."""
        indices = np.indices(reference.shape).reshape(3, -1)
        points = reference.affine @ np.vstack([indices, np.ones(indices.shape[1])])
        size = abs(np.linalg.det(moving.affine[:3, :3])) * moving.array.size
        own_size = abs(np.linalg.det(reference.affine[:3, :3])) * reference.array.size
        edges = _edges(reference).reshape(3, -1)
        strength = (edges**2).sum(axis=0)
        strong = _subsampled(np.flatnonzero(strength >= np.quantile(strength, 1 - EDGE_SHARE)), most_points)
        sampled = _subsampled(np.arange(points.shape[1]), most_points)
        return cls(
            points=points[:, sampled],
            reference_bins=np.clip(_bins(reference.array).ravel()[sampled] + 0.5, 0, BINS - 1).astype(int),
            moving_bins=_bins(moving.array).astype(np.float32),
            edge_points=points[:, strong],
            reference_edges=edges[:, strong],
            moving_edges=_edges(moving),
            index_from_mm=np.linalg.inv(moving.affine),
            full_overlap=min(size / own_size, 1.0),
        )

    def at(self, transform: Affine | Transform) -> Similarity:
        """Return the similarity under a transform; all values are 0 if no voxel is shared."""
        bits, overlap = self._information(transform)
        return Similarity(bits, self.edges(transform), overlap)

    def with_fewer_edges(self, most_points: int) -> "Comparison":
        """Return the comparison with at most `most_points` edge points."""
        sampled = _subsampled(np.arange(self.edge_points.shape[1]), most_points)
        return replace(self, edge_points=self.edge_points[:, sampled], reference_edges=self.reference_edges[:, sampled])

    def objective(self, transform: Affine | Transform) -> float:
        """Return the objective to maximize, see `Similarity.worth`, without computing the edges."""
        bits, overlap = self._information(transform)
        return Similarity(bits, 0.0, overlap).objective

    def edges(self, transform: Affine | Transform) -> float:
        """Return the agreement of edges under a transform, see `Similarity.edges`; 0 if no strong edge is shared."""
        index, inside = self._sampled_indices(transform, self.edge_points)
        if not inside.any():
            return 0.0
        points = index[:, inside]
        moving_edges = np.stack([map_coordinates(part, points, order=1, mode="nearest") for part in self.moving_edges])
        rotation = transform.matrix[:3, :3] if isinstance(transform, Transform) else transform[:3, :3]
        cosine = (self.reference_edges[:, inside] * (rotation.T @ moving_edges)).sum(axis=0)
        return float((cosine**2).mean())

    def _information(self, transform: Affine | Transform) -> tuple[float, float]:
        index, inside = self._sampled_indices(transform, self.points)
        if not inside.any():
            return 0.0, 0.0
        bins = map_coordinates(self.moving_bins, index[:, inside], order=1, mode="nearest")
        return _mutual_information_bits(self.reference_bins[inside], bins), self._overlap(inside)

    def _overlap(self, inside: np.ndarray) -> float:
        return min(1.0, float(inside.mean() / self.full_overlap))

    def _sampled_indices(self, transform: Affine | Transform, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(transform, Transform):
            index = self.index_from_mm[:3, :3] @ transform.apply(points[:3]) + self.index_from_mm[:3, 3:]
        else:
            index = (self.index_from_mm @ transform)[:3] @ points
        count = np.array(self.moving_bins.shape)[:, None]
        return index, ((index >= -0.5) & (index <= count - 0.5)).all(axis=0)


def _subsampled(indices: np.ndarray, most_points: int) -> np.ndarray:
    return indices[:: max(1, -(-len(indices) // most_points))]


def _edges(volume: Volume) -> np.ndarray:
    """Return gradients (3, X, Y, Z) along RAS, normalized, and damped where they are weak for the image.

    Source:
        Haber and Modersitzki 2006, Intensity gradient based registration and fusion of multi-modal images.
    """
    steps = [
        np.gradient(volume.array.astype(np.float32), axis=axis) if n > 1 else np.zeros(volume.shape, np.float32)
        for axis, n in enumerate(volume.shape)
    ]
    slopes = np.tensordot(np.linalg.inv(volume.affine[:3, :3]).T.astype(np.float32), np.stack(steps), 1)
    squared = (slopes**2).sum(axis=0)
    return slopes / np.sqrt(squared + max(float(np.sqrt(squared).mean()), 1e-12) ** 2)


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
    occupied = joint > 0
    return max(0.0, float((joint[occupied] * np.log2(joint[occupied] / independent[occupied])).sum()))


def clipped(volume: Volume) -> Volume:
    """Clip an image to its 0.5th and 99.5th percentile, so that outliers do not widen the histogram bins."""
    low, high = np.percentile(volume.array, ROBUST_PERCENTILES)
    return volume.with_array(np.clip(volume.array, low, high).astype(np.float32)) if high > low else volume
