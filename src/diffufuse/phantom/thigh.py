"""Anatomy of a thigh without tumor: skin, fat, muscles, femur, vessels, nerve, and lesions that mimic a tumor."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diffufuse.phantom.grids import Grid, smooth_noise
from diffufuse.phantom.tissues import Kind

SKIN_MM = 2.0
CORTEX_MM = 5.5
SHEATH_MM = 2.0
MUSCLES_INSIDE, MUSCLES_OUTSIDE = 4, 8
FULLNESS = 2.3  # exponent of the superellipse of the cross-section; 2 is an ellipse

Noise = Callable[[float | tuple[float, float, float]], np.ndarray]


@dataclass(frozen=True)
class Build:
    """Dimensions of a thigh, mm; lateral is to the right for side 1 and to the left for side -1."""

    side: int
    radii_mm: tuple[float, float]
    fat_mm: float
    femur_mm: tuple[float, float]
    femur_radius_mm: float
    marbling: float


def draw_build(generator: np.random.Generator) -> Build:
    """Draw a thigh of random size, fat thickness and side."""
    side = int(generator.choice([-1, 1]))
    radius_mm = generator.uniform(74, 86)
    return Build(
        side=side,
        radii_mm=(radius_mm * generator.uniform(0.94, 1.06), radius_mm * generator.uniform(0.92, 1.04)),
        fat_mm=generator.uniform(7, 19),
        femur_mm=(side * generator.uniform(8, 18), generator.uniform(6, 16)),
        femur_radius_mm=generator.uniform(12.5, 15.5),
        marbling=generator.uniform(0.4, 1.0),
    )


def draw_thigh(grid: Grid, points_mm: np.ndarray, build: Build, generator: np.random.Generator) -> np.ndarray:
    """Draw the tissue map of a thigh.

    Args:
        grid: the fine grid.
        points_mm: (3, X, Y, Z), position of each voxel's tissue before its displacement by the tumor; bone is fixed.
        build: dimensions of the thigh.
        generator: random number generator.

    Returns:
        Values of `Kind`, uint8, (X, Y, Z).
    """
    bulge_mm = [3 * smooth_noise(grid, generator, scale_mm=(22, 22, 40)) for _ in "xy"]
    x, y, z = points_mm[0] + bulge_mm[0], points_mm[1] + bulge_mm[1], points_mm[2]
    taper = 1 + 0.0012 * z
    u, v = x / (build.radii_mm[0] * taper), y / (build.radii_mm[1] * taper)
    rim = (np.abs(u) ** FULLNESS + np.abs(v) ** FULLNESS) ** (1 / FULLNESS)
    depth_mm = (1 - rim) * (sum(build.radii_mm) / 2)
    thick_direction = generator.uniform(0, 2 * np.pi)
    fat_mm = build.fat_mm * (1 + 0.35 * (u * np.cos(thick_direction) + v * np.sin(thick_direction)) / (rim + 0.01))
    kinds = np.full(grid.shape, Kind.AIR, np.uint8)
    kinds[depth_mm > 0] = Kind.SKIN
    kinds[depth_mm > SKIN_MM] = Kind.FAT
    core = depth_mm > SKIN_MM + fat_mm
    kinds[core] = _draw_core(
        (x[core], y[core], z[core]), (u[core], v[core]), build, generator, _noise(grid, core, generator)
    )
    _paint_femur(kinds, grid, build, generator)
    return kinds


def _noise(grid: Grid, part: np.ndarray, generator: np.random.Generator) -> Noise:
    """Return a function that draws smooth noise of a given scale, mm, at the voxels of a mask."""
    return lambda scale_mm: smooth_noise(grid, generator, scale_mm=scale_mm)[part]


def _draw_core(
    points_mm: tuple[np.ndarray, np.ndarray, np.ndarray],
    relative: tuple[np.ndarray, np.ndarray],
    build: Build,
    generator: np.random.Generator,
    noise: Noise,
) -> np.ndarray:
    """Draw the tissue kinds of points below the subcutaneous fat, by absolute and relative position."""
    kinds = _draw_muscles(relative, points_mm[2], build, generator, noise)
    artery_mm = np.array([-build.side * generator.uniform(18, 27), generator.uniform(4, 18)])
    nerve_mm = np.array([build.side * generator.uniform(-8, 8), -generator.uniform(26, 36)])
    _paint_cords(kinds, points_mm, artery_mm, nerve_mm, build, generator)
    for line_mm, radius_mm, kind in (
        (artery_mm + np.array([0, 11]), (4.5, 8.5), Kind.NODE),
        (nerve_mm * 0.8, (6, 13), Kind.CYST),
    ):
        lump = _draw_ellipsoid(points_mm, line_mm, radius_mm, generator)
        if generator.random() < 0.5:
            kinds[lump] = kind
    return kinds


def _draw_muscles(
    relative: tuple[np.ndarray, np.ndarray],
    z_mm: np.ndarray,
    build: Build,
    generator: np.random.Generator,
    noise: Noise,
) -> np.ndarray:
    """Draw muscles as Voronoi cells of random seeds, separated by sheets of fat."""
    scale = 1 - 2 * build.fat_mm / sum(build.radii_mm)
    u, v = ((axis + 0.05 * noise((9, 9, 30))) / scale for axis in relative)
    muscle, gap = _cells(u, v, z_mm, _muscle_seeds(generator))
    sheet = gap < 0.040 * build.marbling * np.exp(0.5 * noise((8, 8, 16)))
    fleck = (np.abs(noise((5, 5, 25))) < 0.05 * build.marbling) & (noise(12) > 1.1)
    kinds = np.where(sheet | fleck, Kind.FAT, Kind.MUSCLE).astype(np.uint8)
    if generator.random() < 0.4:
        inflamed = muscle == generator.integers(MUSCLES_INSIDE + MUSCLES_OUTSIDE)
        kinds[inflamed & (kinds == Kind.MUSCLE) & (noise((12, 12, 25)) > -0.3)] = Kind.INFLAMED
    return kinds


def _muscle_seeds(generator: np.random.Generator) -> np.ndarray:
    """Draw seeds (muscles, 4) on two rings: position and drift along z, in units of the thigh's radius."""
    seeds = []
    for count, ring in ((MUSCLES_INSIDE, 0.33), (MUSCLES_OUTSIDE, 0.80)):
        angles = generator.uniform(0, 2 * np.pi) + np.arange(count) * 2 * np.pi / count
        angles += generator.normal(0, 0.5 / count, count)
        rings = ring + generator.normal(0, 0.07, count)
        seeds.append(np.stack([rings * np.cos(angles), rings * np.sin(angles)], axis=1))
    position = np.concatenate(seeds)
    return np.concatenate([position, generator.normal(0, 0.0012, position.shape)], axis=1).astype(np.float32)


def _cells(u: np.ndarray, v: np.ndarray, z_mm: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of the nearest seed of each point, and how much farther the second nearest is."""
    nearest, second = np.full(u.shape, np.inf, np.float32), np.full(u.shape, np.inf, np.float32)
    nearest_index = np.zeros(u.shape, np.uint8)
    for number, (at_u, at_v, drift_u, drift_v) in enumerate(seeds):
        squared = (u - at_u - drift_u * z_mm) ** 2 + (v - at_v - drift_v * z_mm) ** 2
        second = np.minimum(second, np.maximum(nearest, squared))
        nearest_index[squared < nearest] = number
        nearest = np.minimum(nearest, squared)
    return nearest_index, np.sqrt(second) - np.sqrt(nearest)


def _paint_cords(
    kinds: np.ndarray,
    points_mm: tuple[np.ndarray, np.ndarray, np.ndarray],
    artery_mm: np.ndarray,
    nerve_mm: np.ndarray,
    build: Build,
    generator: np.random.Generator,
) -> None:
    """Draw vessels and the nerve along the thigh, in sheaths of fat."""
    deep_mm = np.array([-build.side * generator.uniform(-2, 8), -generator.uniform(8, 16)])
    side_mm = np.array([generator.uniform(-3, 3), -9.0])
    wide_mm = generator.uniform(3.5, 7.0)  # a wide vein is bright on T2 and warm on PET
    cords = [
        (artery_mm, 3.8, Kind.ARTERY),
        (artery_mm + side_mm, wide_mm, Kind.VEIN),
        (deep_mm, 2.6, Kind.ARTERY),
        (deep_mm + side_mm * 0.6, 3.0, Kind.VEIN),
        (nerve_mm, 4.0, Kind.NERVE),
    ]
    distances_mm = [_distance_from_cord(points_mm, line_mm, generator) for line_mm, _, _ in cords]
    for distance_mm, (_, radius_mm, _) in zip(distances_mm, cords, strict=True):
        kinds[distance_mm < radius_mm + SHEATH_MM] = Kind.FAT
    for distance_mm, (_, radius_mm, kind) in zip(distances_mm, cords, strict=True):
        kinds[distance_mm < radius_mm] = kind


def _distance_from_cord(
    points_mm: tuple[np.ndarray, np.ndarray, np.ndarray], line_mm: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Return the distance from a random curved line along z, mm."""
    x, y, z = points_mm
    swing_mm, pace_per_mm, start = generator.normal(0, 2.5, 2), generator.uniform(0.03, 0.06), generator.uniform(0, 6)
    turn = np.float32(pace_per_mm) * z + np.float32(start)
    along_x = float(line_mm[0]) + float(swing_mm[0]) * np.sin(turn)
    along_y = float(line_mm[1]) + float(swing_mm[1]) * np.cos(turn)
    return np.sqrt((x - along_x) ** 2 + (y - along_y) ** 2)


def _draw_ellipsoid(
    points_mm: tuple[np.ndarray, np.ndarray, np.ndarray],
    line_mm: np.ndarray,
    radius_mm: tuple[float, float],
    generator: np.random.Generator,
) -> np.ndarray:
    """Return the mask of points in an elongated ellipsoid of random size near a given line."""
    x, y, z = points_mm
    at_x, at_y = (float(part) for part in line_mm + generator.normal(0, 4, 2))
    at_z = generator.uniform(-45, 45)
    squared_mm2 = (x - at_x) ** 2 + (y - at_y) ** 2 + ((z - at_z) / 1.6) ** 2
    return squared_mm2 < generator.uniform(*radius_mm) ** 2


def _paint_femur(kinds: np.ndarray, grid: Grid, build: Build, generator: np.random.Generator) -> None:
    """Draw the femur: a tube of cortical bone with marrow, slightly bowed forward."""
    x, y, z = grid.points_mm
    bow_mm = 4 * (z / 80) ** 2
    tilt = generator.normal(0, 0.03, 2)
    distance = np.hypot(x - build.femur_mm[0] - tilt[0] * z, (y - build.femur_mm[1] - tilt[1] * z + bow_mm) / 1.06)
    distance = distance + 0.6 * smooth_noise(grid, generator, scale_mm=(8, 8, 30))
    kinds[distance < build.femur_radius_mm] = Kind.CORTEX
    kinds[distance < build.femur_radius_mm - CORTEX_MM] = Kind.MARROW
