"""Anatomy of a phantom patient: a thigh with a soft-tissue sarcoma, on a fine grid in the PET/CT frame."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects, label

from diffufuse.phantom.grids import FINE_SPACING_MM, Grid, fine_grid, smooth_noise
from diffufuse.phantom.thigh import Build, draw_build, draw_thigh
from diffufuse.phantom.tissues import TUMOR, Kind, Tissue
from diffufuse.phantom.traits import Traits, tissues_of

BONE = (Kind.CORTEX, Kind.MARROW)
LONGEST_HALF_MM = 50.0
MARGIN_MM = 24.0


@dataclass(frozen=True)
class Anatomy:
    """Tissue maps of a patient.

    Attributes:
        grid: the fine grid in the PET/CT frame.
        kinds: values of `Kind`, uint8, (X, Y, Z).
        mass: the tumor, boolean, (X, Y, Z).
        mass_and_edema: the tumor with the edema around it, boolean, (X, Y, Z).
        center_mm: RAS coordinate of the center of the mass.
        tissues: tissue kind to its physical properties.
        texture: small-scale variation, mean 0 and standard deviation 1, (X, Y, Z).
        log_uptake: logarithm of the factor on the uptake of FDG, (X, Y, Z).
        log_t2: logarithm of the factor on the transverse relaxation time, (X, Y, Z).
    """

    grid: Grid
    kinds: np.ndarray
    mass: np.ndarray
    mass_and_edema: np.ndarray
    center_mm: np.ndarray
    tissues: dict[Kind, Tissue]
    texture: np.ndarray
    log_uptake: np.ndarray
    log_t2: np.ndarray


@dataclass(frozen=True)
class _Position:
    """Center and half-axes of the tumor, mm."""

    center_mm: np.ndarray
    radii_mm: np.ndarray


def draw_anatomy(traits: Traits, generator: np.random.Generator) -> Anatomy:
    """Draw the anatomy of a patient with given tumor traits in a random thigh."""
    grid = fine_grid()
    build = draw_build(generator)
    position = _draw_position(traits, build, generator)
    offset_mm = grid.points_mm - position.center_mm[:, None, None, None].astype(np.float32)
    relative = np.sqrt(((offset_mm / position.radii_mm[:, None, None, None].astype(np.float32)) ** 2).sum(axis=0))
    kinds = draw_thigh(grid, grid.points_mm - _mass_effect(offset_mm, relative, generator), build, generator)
    mass = _draw_mass(kinds, relative, grid, traits, generator)
    box = _bounding_box(mass)
    edema = _draw_edema(kinds, mass, box, grid, traits, generator)
    kinds[edema & (kinds == Kind.MUSCLE)] = Kind.EDEMA
    kinds[mass] = _draw_tumor_tissues(mass, box, grid, traits, generator)[mass]
    texture = smooth_noise(grid, generator, scale_mm=3.0)
    return Anatomy(
        grid=grid,
        kinds=kinds,
        mass=mass,
        mass_and_edema=mass | edema,
        center_mm=grid.points_mm[:, mass].mean(axis=1).astype(float),
        tissues=tissues_of(traits),
        texture=texture,
        log_uptake=_draw_log_uptake(kinds, offset_mm, grid, traits, generator),
        log_t2=_draw_log_t2(kinds, texture, grid, generator),
    )


def _draw_position(traits: Traits, build: Build, generator: np.random.Generator) -> _Position:
    """Draw position and size of a tumor in the soft tissue that at most touches the femur."""
    radius_mm = traits.diameter_mm / 2
    stretch = np.array([generator.uniform(0.85, 1.1), generator.uniform(0.85, 1.1), generator.uniform(1.0, 1.4)])
    radii_mm = np.minimum(radius_mm * stretch, LONGEST_HALF_MM)
    candidates_mm = generator.uniform(-1, 1, (200, 2)) * build.radii_mm
    from_femur_mm = np.linalg.norm(candidates_mm - build.femur_mm, axis=1) - build.femur_radius_mm
    from_middle = np.linalg.norm(candidates_mm / build.radii_mm, axis=1)
    fits = (from_femur_mm > 0.85 * radius_mm) & (from_middle < np.clip(1.05 - radius_mm / 90, 0.55, 0.8))
    chosen = int(np.argmax(fits)) if fits.any() else int(np.argmax(from_femur_mm - 120 * from_middle))
    return _Position(np.array([*candidates_mm[chosen], generator.uniform(-8, 8)]), radii_mm)


def _mass_effect(offset_mm: np.ndarray, relative: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the outward displacement of tissue by the growing mass, (3, X, Y, Z), mm."""
    strength = generator.uniform(0.45, 0.75)
    return offset_mm * (strength * np.exp(-(relative**2) / 2.4))


def _draw_mass(
    kinds: np.ndarray, relative: np.ndarray, grid: Grid, traits: Traits, generator: np.random.Generator
) -> np.ndarray:
    """Draw a lobulated mass: an ellipsoid with an irregular surface, limited by bone and skin."""
    lobes = smooth_noise(grid, generator, scale_mm=max(4.5, 0.17 * traits.diameter_mm))
    wave = smooth_noise(grid, generator, scale_mm=4.5)
    blob = relative < 1 + generator.uniform(0.10, 0.18) * lobes + 0.05 * wave
    blob &= ~np.isin(kinds, (*BONE, Kind.AIR, Kind.SKIN))
    parts, _ = label(blob)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return parts == sizes.argmax()


def _bounding_box(mass: np.ndarray) -> tuple[slice, ...]:
    """Return the bounding box of a mass with a margin, to which the expensive distance transforms are limited."""
    margin = round(MARGIN_MM / FINE_SPACING_MM)
    box = find_objects(mass.astype(np.uint8))[0]
    return tuple(slice(max(s.start - margin, 0), min(s.stop + margin, n)) for s, n in zip(box, mass.shape, strict=True))


def _draw_edema(
    kinds: np.ndarray,
    mass: np.ndarray,
    box: tuple[slice, ...],
    grid: Grid,
    traits: Traits,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw the edema: a shell of varying thickness in the muscle around the mass, elongated along the thigh."""
    outside_mm = np.full(mass.shape, np.inf, np.float32)
    outside_mm[box] = distance_transform_edt(~mass[box], sampling=FINE_SPACING_MM)
    thickness_mm = traits.edema_mm * (0.6 + 0.8 * smooth_noise(grid, generator, scale_mm=(14, 14, 22)))
    soft = np.isin(kinds, (Kind.MUSCLE, Kind.INFLAMED))
    return soft & ~mass & (outside_mm < thickness_mm)


def _draw_tumor_tissues(
    mass: np.ndarray, box: tuple[slice, ...], grid: Grid, traits: Traits, generator: np.random.Generator
) -> np.ndarray:
    """Draw the tumor tissues: a viable rim with myxoid and fibrous parts, a necrotic core, sometimes a hemorrhage."""
    depth = np.zeros(mass.shape, np.float32)
    depth[box] = distance_transform_edt(mass[box])
    depth /= depth.max()
    scale_mm = max(4.0, 0.13 * traits.diameter_mm)
    inside = np.full(mass.shape, Kind.VIABLE, np.uint8)
    inside[smooth_noise(grid, generator, scale_mm=scale_mm) > generator.uniform(0.6, 2.2)] = Kind.MYXOID
    inside[smooth_noise(grid, generator, scale_mm=scale_mm) > generator.uniform(0.5, 1.6)] = Kind.FIBROUS
    edge = depth + 0.16 * smooth_noise(grid, generator, scale_mm=scale_mm)
    inside[edge > 1 - traits.necrosis] = Kind.NECROTIC
    if generator.random() < 0.35:
        inside[smooth_noise(grid, generator, scale_mm=scale_mm) > 1.3] = Kind.HEMORRHAGE
    return inside


def _draw_log_uptake(
    kinds: np.ndarray, offset_mm: np.ndarray, grid: Grid, traits: Traits, generator: np.random.Generator
) -> np.ndarray:
    """Draw the log factor of uptake: small variation everywhere, large and possibly one-sided within the tumor."""
    direction = generator.normal(size=3)
    direction = (direction / np.linalg.norm(direction)).astype(np.float32)
    slope = np.tensordot(direction, offset_mm, 1) * (2 * traits.one_sided / traits.diameter_mm)
    uneven = 0.12 * smooth_noise(grid, generator, scale_mm=12)
    lumpy = 0.45 * smooth_noise(grid, generator, scale_mm=6) + np.clip(slope, -1, 1)
    return np.where(np.isin(kinds, TUMOR), lumpy, uneven)


def _draw_log_t2(kinds: np.ndarray, texture: np.ndarray, grid: Grid, generator: np.random.Generator) -> np.ndarray:
    """Draw the log factor of T2: small variation everywhere, large within tumor and edema, so that they overlap."""
    uneven = smooth_noise(grid, generator, scale_mm=6)
    return 0.07 * texture + np.where(np.isin(kinds, (*TUMOR, Kind.EDEMA)), 0.20, 0.03) * uneven
