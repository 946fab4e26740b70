"""Where the phantom's voxels lie, and smooth random fields on them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

FINE_SPACING_MM = 1.5
FINE_SHAPE = (144, 144, 112)


@dataclass(frozen=True)
class Grid:
    """A regular grid in the patient.

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
    """An axial grid whose middle lies at a given point.

    Args:
        shape: number of voxels along x, y, z.
        spacing_mm: distance of neighboring voxel centers along x, y, z, mm.
        center_mm: RAS coordinate of the middle, mm.
        directions: 1 where the array axis runs right, anterior or superior, -1 where it runs the other way.
    """
    steps_mm = np.array(spacing_mm) * np.array(directions)
    affine = np.diag([*steps_mm, 1.0])
    affine[:3, 3] = np.asarray(center_mm) - steps_mm * (np.array(shape) - 1) / 2
    return Grid(shape, affine)


def fine_grid() -> Grid:
    """The grid on which the anatomy is made: 1.5 mm, its middle at the origin of the PET/CT frame."""
    return centered_grid(FINE_SHAPE, (FINE_SPACING_MM,) * 3)


def sample(values: np.ndarray, grid: Grid, points_mm: np.ndarray) -> np.ndarray:
    """Linear interpolation of values on a grid; beyond its border the nearest value continues.

    Args:
        values: on the grid, (X, Y, Z).
        grid: where the values lie.
        points_mm: RAS coordinates, (3, ...), mm.

    Returns:
        float32, shaped like one coordinate of the points.
    """
    inverse = np.linalg.inv(grid.affine).astype(np.float32)
    index = np.tensordot(inverse[:3, :3], points_mm, 1) + inverse[:3, 3].reshape(3, *[1] * (points_mm.ndim - 1))
    return map_coordinates(values.astype(np.float32, copy=False), index, order=1, mode="nearest", output=np.float32)


def moved(points_mm: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points (3, ...) after a (4, 4) rigid transform, mm."""
    rotation, shift_mm = transform[:3, :3].astype(np.float32), transform[:3, 3].astype(np.float32)
    return np.tensordot(rotation, points_mm, 1) + shift_mm.reshape(3, *[1] * (points_mm.ndim - 1))


def random_displacement(
    generator: np.random.Generator, *, shift_mm: tuple[float, float], angle_deg: tuple[float, float]
) -> np.ndarray:
    """A rigid displacement with random axis and direction.

    Args:
        generator: where the numbers come from.
        shift_mm: smallest and largest length of the shift, mm.
        angle_deg: smallest and largest angle about an axis through the origin, degrees.

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
    """A smooth random field with mean 0 and standard deviation 1 at every voxel.

    It is a sum of Gaussian bumps with normal random heights on a coarse lattice.

    Args:
        grid: where the field is wanted; its axes must be those of the patient.
        generator: where the numbers come from.
        scale_mm: standard deviation of a bump along each array axis, mm.

    Returns:
        float32, (X, Y, Z).
    """
    scales_mm = np.broadcast_to(scale_mm, 3)
    spacing_mm = np.abs(np.diag(grid.affine)[:3])
    x, y, z = (_bumps(n, step / scale) for n, step, scale in zip(grid.shape, spacing_mm, scales_mm, strict=True))
    field = generator.normal(size=(x.shape[1], y.shape[1], z.shape[1])).astype(np.float32)
    for bumps in (x, y, z):
        field = np.tensordot(field, bumps, axes=(0, 1))  # moves each finished axis to the end, so three turns restore
    return np.ascontiguousarray(field)


def _bumps(voxels: int, step: float) -> np.ndarray:
    """Weights (voxels, bumps) of unit root sum of squares; bumps stand one standard deviation apart."""
    position = np.arange(voxels, dtype=np.float32)[:, None] * step
    center = np.arange(-3, np.ceil(voxels * step) + 4, dtype=np.float32)[None, :]
    weights = np.exp(-0.5 * (position - center) ** 2)
    return weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))
