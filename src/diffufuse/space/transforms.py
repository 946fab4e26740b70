"""Spatial transforms between images.

A transform maps **RAS mm of the reference to RAS mm of the moving image**, so that the moving image on the reference's
grid is `moving(transform(point))`. It is a chain of matrices and warps; ANTs uses the same direction in LPS mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from diffufuse.types import Affine


@dataclass(frozen=True)
class Warp:
    """A displacement field and its inverse, on one grid in one frame.

    Attributes:
        forward: (3, X, Y, Z), displacement at each voxel, RAS mm.
        backward: (3, X, Y, Z), displacement of the inverse field, RAS mm.
        affine: (4, 4), voxel index to RAS mm.
    """

    forward: np.ndarray
    backward: np.ndarray
    affine: Affine

    @property
    def inverse(self) -> "Warp":
        """The inverse warp."""
        return Warp(self.backward, self.forward, self.affine)

    def apply(self, points_mm: np.ndarray) -> np.ndarray:
        """Return points (3, N) displaced by the warp; the displacement is 0 outside the grid."""
        inverse = np.linalg.inv(self.affine)
        index = inverse[:3, :3] @ points_mm + inverse[:3, 3:]
        shift_mm = [map_coordinates(part, index, order=1, mode="constant", cval=0.0) for part in self.forward]
        return points_mm + np.stack(shift_mm)

    def folded(self) -> float:
        """Return the fraction of voxels with a non-positive Jacobian determinant, 0..1; 0 for a valid warp."""
        index_steps = np.stack(np.gradient(self.forward, axis=(1, 2, 3)), axis=1)  # (component, array axis, X, Y, Z)
        slopes = np.einsum("caxyz,ab->xyzcb", index_steps, np.linalg.inv(self.affine[:3, :3]))
        return float((np.linalg.det(np.eye(3) + slopes) <= 0).mean())


@dataclass(frozen=True)
class Transform:
    """A chain of (4, 4) matrices and warps, applied from first to last.

    Attributes:
        steps: the chain; empty is the identity.
    """

    steps: tuple[Affine | Warp, ...] = ()

    @property
    def inverse(self) -> "Transform":
        """The inverse transform: exact for matrices, within a small fraction of a voxel for warps."""
        return Transform(tuple(s.inverse if isinstance(s, Warp) else np.linalg.inv(s) for s in reversed(self.steps)))

    @property
    def matrix(self) -> Affine:
        """The product of the matrices, (4, 4), without the warps."""
        matrix = np.eye(4)
        for step in self.steps:
            if not isinstance(step, Warp):
                matrix = step @ matrix
        return matrix

    @property
    def warps(self) -> tuple[Warp, ...]:
        """The warps in the chain."""
        return tuple(step for step in self.steps if isinstance(step, Warp))

    def then(self, other: "Transform") -> "Transform":
        """Return this transform followed by another."""
        return Transform((*self.steps, *other.steps))

    def apply(self, points_mm: np.ndarray) -> np.ndarray:
        """Map points (3, N) from RAS mm of the reference to RAS mm of the moving image."""
        for step in self.steps:
            points_mm = step.apply(points_mm) if isinstance(step, Warp) else step[:3, :3] @ points_mm + step[:3, 3:]
        return points_mm


def rigid_matrix(shift_mm: Sequence[float] | np.ndarray, rotation_deg: np.ndarray, *, about_mm: np.ndarray) -> Affine:
    """Return the matrix of a rotation about a point followed by a translation.

    Args:
        shift_mm: (3,), along right, anterior, superior.
        rotation_deg: (3,), rotation vector: its direction is the axis, its length the angle.
        about_mm: (3,), center of rotation.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.deg2rad(rotation_deg)).as_matrix()
    matrix[:3, 3] = about_mm + np.asarray(shift_mm) - matrix[:3, :3] @ about_mm
    return matrix


def nearest_rotation(matrix: Affine) -> np.ndarray:
    """Return the (3, 3) rotation nearest to the linear part of a matrix."""
    u, _, vh = np.linalg.svd(matrix[:3, :3])
    return u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vh))]) @ vh


def rotation_angle_deg(matrix: Affine) -> float:
    """Return the angle of the rotation nearest to a matrix, 0..180."""
    return float(np.rad2deg(Rotation.from_matrix(nearest_rotation(matrix)).magnitude()))
