"""Multi-start search for the rigid transform of maximal similarity."""

from collections.abc import Iterable
from itertools import product

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize

from diffufuse.prepare.similarity import Comparison
from diffufuse.space.resampling import center_mm, common_grid, resample
from diffufuse.space.transforms import rigid_matrix
from diffufuse.space.volumes import Volume
from diffufuse.types import Affine

LATTICE_SPACING_MM = 8.0
LATTICE_STEP_MM = 16.0
LATTICE_REACH_MM = 48.0
LATTICE_POINTS = 5_000
FAR_STEP_MM = 24.0
FAR_APART_MM = 60.0
FAR_PLACES = 6
BASIN_SPACING_MM = 6.0
BASIN_POINTS = 10_000
BASIN_REACH = np.array([30.0, 30, 30, 25, 25, 25])  # mm and degrees
CLIMBS = 2
TURN_DEG = 12.0
EDGE_POINTS = 8_000
EDGE_REACH = np.array([25.0, 25, 25, 15, 15, 15])
SMOOTHING_VOXELS = 0.7


def basins(moving: Volume, reference: Volume) -> dict[str, Affine]:
    """Return coarsely optimized rigid matrices, by the name of their start.

    Translations are evaluated on a lattice around the headers' positions, the aligned centers and the aligned centers
    of mass, and, where one field of view is much larger, on a wider lattice over all of it. Powell's method optimizes
    from the best lattice point, from these three starts, from the best six far lattice points, and from the best result
    rotated in both directions about each axis.

    Args:
        moving: clipped to its robust range.
        reference: clipped to its robust range.

    Returns:
        Start (header, center, mass, search, far or turned) to (4, 4) matrix, RAS mm of the reference to RAS mm of the
        moving image; starts without overlap are left out, but for the header where no start has any.
    """
    lattice = comparison_at(moving, reference, spacing_mm=LATTICE_SPACING_MM, most_points=LATTICE_POINTS)
    shifts = {
        "header": np.zeros(3),
        "center": center_mm(moving) - center_mm(reference),
        "mass": _mass_center_mm(moving) - _mass_center_mm(reference),
    }
    overlapping = {name: shift for name, shift in shifts.items() if lattice.at(_shift(shift)).overlap > 0}
    shifts = overlapping or {"header": shifts["header"]}
    shifts["search"] = max(_lattice(shifts.values()), key=lambda shift: lattice.objective(_shift(shift)))
    shifts |= _far_shifts(lattice, moving, reference)
    coarse = comparison_at(moving, reference, spacing_mm=BASIN_SPACING_MM, most_points=BASIN_POINTS)
    center = center_mm(reference)
    optimized = {
        name: climb(coarse, _shift(start), reach=BASIN_REACH, about_mm=center) for name, start in shifts.items()
    }
    best = optimized[max(optimized, key=lambda name: coarse.objective(optimized[name]))]
    turned = [climb(coarse, best @ turn, reach=BASIN_REACH, about_mm=center) for turn in _turns(center)]
    return {**optimized, "turned": max(turned, key=coarse.objective)}


def _turns(about_mm: np.ndarray) -> list[Affine]:
    """Return rotations in both directions about each axis."""
    axes = np.vstack([np.eye(3), -np.eye(3)])
    return [rigid_matrix(np.zeros(3), TURN_DEG * axis, about_mm=about_mm) for axis in axes]


def climb(comparison: Comparison, start: Affine, *, reach: np.ndarray, about_mm: np.ndarray) -> Affine:
    """Return the rigid matrix of maximal `objective` near a start, by Powell's method.

    Args:
        comparison: of the two images.
        start: (4, 4), initial matrix.
        reach: (6,), bounds of the translation (mm) and rotation (degrees) relative to the start.
        about_mm: (3,), center of rotation.
    """

    def cost(parameters: np.ndarray) -> float:
        return -comparison.objective(start @ _rigid(parameters, about_mm))

    bounds = list(zip(-reach, reach, strict=True))
    best = np.zeros(6)
    for _ in range(CLIMBS):  # Powell's directions degenerate along a ridge; a restart resets them
        best = minimize(cost, best, method="Powell", bounds=bounds, options={"xtol": 0.1, "ftol": 1e-4}).x
    return start @ _rigid(best, about_mm)


def comparison_at(moving: Volume, reference: Volume, *, spacing_mm: float, most_points: int) -> Comparison:
    """Prepare the comparison of two images at a coarser spacing and lightly smoothed.

    Interpolation smooths noise, which would favor positions between voxels unless the images are smoothed first.
    """
    views = (coarser(volume, spacing_mm=spacing_mm) for volume in (moving, reference))
    smooth = (view.with_array(gaussian_filter(view.array, SMOOTHING_VOXELS)) for view in views)
    return Comparison.between(*smooth, most_points=most_points)


def coarser(volume: Volume, *, spacing_mm: float) -> Volume:
    """Resample an image to voxels of at least a given spacing."""
    x, y, z = (max(own, spacing_mm) for own in volume.spacing_mm)
    grid = common_grid(volume, spacing_mm=(x, y, z))
    return grid.with_array(resample(volume, grid)[0])


def _far_shifts(lattice: Comparison, moving: Volume, reference: Volume) -> dict[str, np.ndarray]:
    """Return the best translations, far apart, of a small image within a much larger one (limb in whole body)."""
    reach = np.abs(_extent_mm(moving) - _extent_mm(reference)) / 2
    if (reach <= LATTICE_REACH_MM).all():
        return {}
    steps = [np.arange(-np.ceil(r / FAR_STEP_MM), np.ceil(r / FAR_STEP_MM) + 1) * FAR_STEP_MM for r in reach]
    middle = center_mm(moving) - center_mm(reference)
    shifts = np.array([middle + np.array(step) for step in product(*steps)])
    ranked = shifts[np.argsort([-lattice.objective(_shift(shift)) for shift in shifts], kind="stable")]
    selected: list[np.ndarray] = []
    while len(selected) < FAR_PLACES and len(ranked):
        selected.append(ranked[0])
        ranked = ranked[np.linalg.norm(ranked - ranked[0], axis=1) > FAR_APART_MM]
    return {f"far {number}": shift for number, shift in enumerate(selected, start=1)}


def _extent_mm(volume: Volume) -> np.ndarray:
    """Return the size of the field of view along right, anterior, superior, mm."""
    axes_mm = volume.affine[:3, :3] * np.array(volume.shape)
    return np.abs(axes_mm).sum(axis=1)


def _lattice(around: Iterable[np.ndarray]) -> list[np.ndarray]:
    steps = np.arange(-LATTICE_REACH_MM, LATTICE_REACH_MM + 1, LATTICE_STEP_MM)
    return [center + np.array(step) for center in around for step in product(steps, repeat=3)]


def _rigid(parameters: np.ndarray, about_mm: np.ndarray) -> Affine:
    return rigid_matrix(parameters[:3], parameters[3:], about_mm=about_mm)


def _shift(shift_mm: np.ndarray) -> Affine:
    return rigid_matrix(shift_mm, np.zeros(3), about_mm=np.zeros(3))


def _mass_center_mm(volume: Volume) -> np.ndarray:
    weights = volume.array.astype(np.float64) - volume.array.min()
    if not weights.any():  # a few voxels of an image may be alike at a coarser spacing
        return center_mm(volume)
    index = [np.average(np.arange(n), weights=weights.sum(axis=_others(axis))) for axis, n in enumerate(volume.shape)]
    return volume.affine[:3, :3] @ np.array(index) + volume.affine[:3, 3]


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)


def climb_edges(comparison: Comparison, start: Affine) -> Affine:
    """Return the rigid matrix of maximal edge agreement near a start, by Powell's method.

    Args:
        comparison: of the two images.
        start: (4, 4), initial matrix.
    """
    subsampled = comparison.with_fewer_edges(EDGE_POINTS)
    center = subsampled.edge_points[:3].mean(axis=1)

    def cost(parameters: np.ndarray) -> float:
        return -subsampled.edges(start @ _rigid(parameters, center))

    bounds = list(zip(-EDGE_REACH, EDGE_REACH, strict=True))
    optimum = minimize(cost, np.zeros(6), method="Powell", bounds=bounds, options={"xtol": 0.1, "ftol": 1e-4})
    return start @ _rigid(optimum.x, center)
