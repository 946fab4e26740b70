"""Resample volumes and labels onto another grid.

A transform maps **RAS mm of the grid (the reference) to RAS mm of the volume (the moving image)**, so that the
resampled value at a point is `volume(transform(point))`: one interpolation for the whole chain.
"""

from typing import Literal

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates

from diffufuse.space.transforms import Transform
from diffufuse.space.volumes import Volume
from diffufuse.types import Labels, Mask

EDGE_TOLERANCE = 1e-4
ANTIALIAS_FROM = 1.5
FWHM_PER_SD = 2.3548


def common_grid(reference: Volume, *, spacing_mm: tuple[float | None, float | None, float | None]) -> Volume:
    """Return an empty grid along the reference's axes that covers its field of view and shares its center.

    Args:
        reference: the reference image of the case.
        spacing_mm: voxel spacing along each axis; None keeps that of the reference.

    Returns:
        Zeros, float32. All voxel centers lie in the reference's field of view.
    """
    current_mm = np.array(reference.spacing_mm)
    target_mm = np.array(
        [current if target is None else target for target, current in zip(spacing_mm, current_mm, strict=True)], float
    )
    if not (target_mm > 0).all():
        raise ValueError(f"spacing_mm: expected positive numbers, got {spacing_mm}")
    shape = np.maximum(1, np.ceil(np.array(reference.shape) * current_mm / target_mm - 1e-3).astype(int))
    affine = np.eye(4)
    affine[:3, :3] = reference.affine[:3, :3] / current_mm * target_mm
    affine[:3, 3] = center_mm(reference) - affine[:3, :3] @ ((shape - 1) / 2)
    return Volume(np.zeros(shape, np.float32), affine)


def center_mm(volume: Volume) -> np.ndarray:
    """Return the RAS coordinate of the center of the field of view, (3,) mm."""
    return volume.affine[:3, :3] @ ((np.array(volume.shape) - 1) / 2) + volume.affine[:3, 3]


def resample(
    volume: Volume,
    grid: Volume,
    *,
    transform: Transform | None = None,
    interpolation: Literal["linear", "nearest"] = "linear",
) -> tuple[np.ndarray, Mask]:
    """Resample a volume onto a grid, with the mask of the volume's field of view.

    A volume much finer than the grid is smoothed first (linear only) to prevent aliasing.

    Args:
        volume: the volume to resample.
        grid: the target grid; its values are not used.
        transform: grid RAS mm to volume RAS mm; identity if None.
        interpolation: between voxel centers; a volume reaches half a voxel beyond its outer centers.

    Returns:
        float32 values, exactly 0 outside the field of view, and the boolean field of view; both shaped like the grid.
    """
    if interpolation not in ("linear", "nearest"):
        raise ValueError(f"interpolation: expected linear or nearest, got {interpolation!r}")
    transform = Transform() if transform is None else transform
    indices = index_matrix(volume, grid, matrix=transform.matrix)
    source = volume.array.astype(np.float32)
    if interpolation == "linear":
        source = _antialiased(source, indices)
    order = 1 if interpolation == "linear" else 0
    if transform.warps:
        values, inside = _warped(source, _warped_indices(volume, grid, transform), order=order)
    else:
        # Rounding noise of 1e-15 at exact .5 indices would flip nearest neighbors and blur exact copies.
        values = affine_transform(source, np.round(indices, 9), output_shape=grid.shape, order=order, mode="nearest")
        inside = _inside(indices, grid.shape, volume.shape)
    return np.where(inside, values, 0).astype(np.float32), inside


def resample_labels(labels: Volume, grid: Volume, *, transform: Transform | None = None) -> Labels:
    """Resample labels onto a grid, preserving volumes and the common outline of all labels.

    Each label's indicator is resampled linearly; a voxel whose indicators sum to at least 1/2 gets the largest.

    Args:
        labels: integers from 0 (background).
        grid: the target grid; its values are not used.
        transform: grid RAS mm to labels RAS mm; identity if None.

    Returns:
        uint8, shaped like the grid; 0 outside the field of view of the labels.
    """
    label_values = [int(label) for label in np.unique(labels.array) if label]
    if not label_values:
        return np.zeros(grid.shape, np.uint8)
    shares = np.stack(
        [resample(labels.with_array(labels.array == label), grid, transform=transform)[0] for label in label_values],
    )
    chosen = np.array(label_values, np.uint8)[shares.argmax(axis=0)]
    return np.where(shares.sum(axis=0) >= 0.5 - EDGE_TOLERANCE, chosen, 0).astype(np.uint8)


def index_matrix(volume: Volume, grid: Volume, *, matrix: np.ndarray | None = None) -> np.ndarray:
    """Return the (4, 4) matrix from voxel indices of the grid to (fractional) voxel indices of the volume."""
    matrix = np.eye(4) if matrix is None else matrix
    return np.linalg.inv(volume.affine) @ matrix @ grid.affine


def _inside(indices: np.ndarray, grid_shape: tuple[int, ...], shape: tuple[int, ...]) -> Mask:
    inside = np.ones(grid_shape, bool)
    i, j, k = np.ogrid[: grid_shape[0], : grid_shape[1], : grid_shape[2]]
    for row, count in zip(indices[:3], shape, strict=True):
        index = row[0] * i + row[1] * j + row[2] * k + row[3]
        inside &= (index >= -0.5 - EDGE_TOLERANCE) & (index <= count - 0.5 + EDGE_TOLERANCE)
    return inside


def _warped_indices(volume: Volume, grid: Volume, transform: Transform) -> np.ndarray:
    """Return the voxel indices (3, X, Y, Z) of the volume at each voxel of the grid."""
    index = np.indices(grid.shape).reshape(3, -1)
    points_mm = transform.apply(grid.affine[:3, :3] @ index + grid.affine[:3, 3:])
    inverse = np.linalg.inv(volume.affine)
    return (inverse[:3, :3] @ points_mm + inverse[:3, 3:]).reshape(3, *grid.shape)


def _warped(source: np.ndarray, indices: np.ndarray, *, order: int) -> tuple[np.ndarray, Mask]:
    reach = np.array(source.shape)[:, None, None, None] - 0.5 + EDGE_TOLERANCE
    inside = np.all((indices >= -0.5 - EDGE_TOLERANCE) & (indices <= reach), axis=0)
    return map_coordinates(source, indices, order=order, mode="nearest"), inside


def _antialiased(array: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Blur along each axis on which one grid step spans more than 1.5 voxels, to the width of that step."""
    step = np.abs(indices[:3, :3]).max(axis=1)
    sd = np.where(step > ANTIALIAS_FROM, np.sqrt(np.maximum(step**2 - 1, 0)) / FWHM_PER_SD, 0)
    return gaussian_filter(array, sd, mode="nearest") if sd.any() else array
