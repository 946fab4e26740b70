"""Regular grids of the phantom, and smooth random fields on them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

FINE_SPACING_MM = 1.5
FINE_SHAPE = (144, 144, 112)


@dataclass(frozen=True)
class Grid:
    """A regular grid in patient coordinates.

    Attributes:
        shape: number of voxels along the three array axes.
        affine: (4, 4), voxel index to RAS coordinate in mm.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @cached_property
    def points_mm(self) -> np.ndarray:
        """RAS coordinates of the voxel centers, (3, X, Y, Z), mm, float32."""
        axes = [np.arange(n, dtype=np.float32) for n in self.shape]
        index = np.stack(np.meshgrid(*axes, indexing="ij"))
        rotated = np.tensordot(self.affine[:3, :3].astype(np.float32), index, 1)
        return rotated + self.affine[:3, 3].astype(np.float32)[:, None, None, None]


def centered_grid(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    *,
    center_mm: np.ndarray | tuple[float, float, float] = (0.0, 0.0, 0.0),
    directions: tuple[int, int, int] = (1, 1, 1),
) -> Grid:
    """Return an axial grid centered at a given point.

    Args:
        shape: number of voxels along x, y, z.
        spacing_mm: voxel spacing along x, y, z, mm.
        center_mm: RAS coordinate of the center, mm.
        directions: 1 where the array axis points right, anterior or superior, -1 where it points the opposite way.
    """
    steps_mm = np.array(spacing_mm) * np.array(directions)
    affine = np.diag([*steps_mm, 1.0])
    affine[:3, 3] = np.asarray(center_mm) - steps_mm * (np.array(shape) - 1) / 2
    return Grid(shape, affine)


def fine_grid() -> Grid:
    """Return the grid of the anatomy: 1.5 mm, centered at the origin of the PET/CT frame."""
    return centered_grid(FINE_SHAPE, (FINE_SPACING_MM,) * 3)


def sample(values: np.ndarray, grid: Grid, points_mm: np.ndarray) -> np.ndarray:
    """Interpolate values on a grid linearly; points outside get the nearest value.

    Args:
        values: (X, Y, Z), values on the grid.
        grid: grid of the values.
        points_mm: RAS coordinates, (3, ...), mm.

    Returns:
        float32, shaped like one coordinate of the points.
    """
    inverse = np.linalg.inv(grid.affine).astype(np.float32)
    index = np.tensordot(inverse[:3, :3], points_mm, 1) + inverse[:3, 3].reshape(3, *[1] * (points_mm.ndim - 1))
    return map_coordinates(values.astype(np.float32, copy=False), index, order=1, mode="nearest", output=np.float32)


def moved(points_mm: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Apply a (4, 4) rigid transform to points (3, ...), mm."""
    rotation, shift_mm = transform[:3, :3].astype(np.float32), transform[:3, 3].astype(np.float32)
    return np.tensordot(rotation, points_mm, 1) + shift_mm.reshape(3, *[1] * (points_mm.ndim - 1))


def random_displacement(
    generator: np.random.Generator, *, shift_mm: tuple[float, float], angle_deg: tuple[float, float]
) -> np.ndarray:
    """Draw a rigid displacement with random axis and direction.

    Args:
        generator: random number generator.
        shift_mm: range of the length of the translation, mm.
        angle_deg: range of the angle about an axis through the origin, degrees.

    Returns:
        A (4, 4) matrix on RAS coordinates in mm.
    """
    axis, direction = (v / np.linalg.norm(v) for v in generator.normal(size=(2, 3)))
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_rotvec(axis * np.deg2rad(generator.uniform(*angle_deg))).as_matrix()
    transform[:3, 3] = direction * generator.uniform(*shift_mm)
    return transform


def smooth_noise(
    grid: Grid, generator: np.random.Generator, *, scale_mm: float | tuple[float, float, float]
) -> np.ndarray:
    """Draw a smooth random field with mean 0 and standard deviation 1 at every voxel.

    It is a sum of Gaussian kernels with normally distributed amplitudes on a coarse lattice.

    Args:
        grid: grid of the field, aligned with the patient axes.
        generator: random number generator.
        scale_mm: standard deviation of the kernels along each array axis, mm.

    Returns:
        float32, (X, Y, Z).
    """
    scales_mm = np.broadcast_to(scale_mm, 3)
    spacing_mm = np.abs(np.diag(grid.affine)[:3])
    x, y, z = (
        _kernel_weights(n, step / scale) for n, step, scale in zip(grid.shape, spacing_mm, scales_mm, strict=True)
    )
    field = generator.normal(size=(x.shape[1], y.shape[1], z.shape[1])).astype(np.float32)
    for weights in (x, y, z):
        field = np.tensordot(field, weights, axes=(0, 1))  # moves each finished axis to the end, so three turns restore
    return np.ascontiguousarray(field)


def _kernel_weights(voxels: int, step: float) -> np.ndarray:
    """Return weights (voxels, kernels) of unit root sum of squares; kernels are one standard deviation apart."""
    position = np.arange(voxels, dtype=np.float32)[:, None] * step
    center = np.arange(-3, np.ceil(voxels * step) + 4, dtype=np.float32)[None, :]
    weights = np.exp(-0.5 * (position - center) ** 2)
    return weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))
