"""Simulated PET, CT and MR images of an anatomy."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from diffufuse.phantom.anatomy import Anatomy
from diffufuse.phantom.grids import FINE_SPACING_MM, Grid, moved, sample, smooth_noise
from diffufuse.phantom.tissues import FATTY, Kind

FWHM_PER_SD = 2.3548
BOX_PER_SD = 12**0.5


@dataclass(frozen=True)
class SpinEcho:
    """A spin-echo sequence.

    Attributes:
        name: name of the sequence.
        repetition_ms: repetition time TR.
        echo_ms: echo time TE.
        residual_fat: fraction of the fat signal remaining after fat saturation at the isocenter; 1 without saturation.
        thickness_mm: slice thickness.
    """

    name: str
    repetition_ms: float
    echo_ms: float
    residual_fat: float
    thickness_mm: float


def pet_suv(anatomy: Anatomy, grid: Grid, generator: np.random.Generator) -> np.ndarray:
    """Simulate a PET image: point spread function, Poisson counts, post-reconstruction filter.

    Counts in a voxel are Poisson distributed with the blurred uptake as mean; the filter then correlates the noise of
    neighboring voxels.

    Args:
        anatomy: the patient.
        grid: image grid in the PET/CT frame.
        generator: random number generator.

    Returns:
        Standardized uptake value by body weight, float32, (X, Y, Z).
    """
    uptake = _property(anatomy, "suv") * np.exp(anatomy.log_uptake)
    psf_mm = generator.uniform(5.5, 6.5) / FWHM_PER_SD
    blurred = sample(gaussian_filter(uptake, psf_mm / FINE_SPACING_MM), anatomy.grid, grid.points_mm)
    blurred[~_inside(anatomy.grid, grid.points_mm)] = 0
    counts_per_suv = generator.uniform(9, 18)
    counted = generator.poisson(blurred * counts_per_suv + 0.05).astype(np.float32) / counts_per_suv
    spacing_mm = np.abs(np.diag(grid.affine)[:3])
    return gaussian_filter(counted, generator.uniform(4.0, 5.0) / FWHM_PER_SD / spacing_mm)


def ct_hu(anatomy: Anatomy, grid: Grid, generator: np.random.Generator) -> np.ndarray:
    """Simulate a CT image with the noise of filtered back-projection.

    Args:
        anatomy: the patient.
        grid: axial image grid in the PET/CT frame.
        generator: random number generator.

    Returns:
        HU, float32, (X, Y, Z).
    """
    soft = ~np.isin(anatomy.kinds, (Kind.AIR, Kind.CORTEX))
    hu = _property(anatomy, "hu") + 6 * anatomy.texture * soft
    blur_mm = np.array([0.8, 0.8, grid.affine[2, 2] / BOX_PER_SD])
    image = sample(gaussian_filter(hu, blur_mm / FINE_SPACING_MM), anatomy.grid, grid.points_mm)
    image[~_inside(anatomy.grid, grid.points_mm)] = -1000
    bone = grid.points_mm[:2, :, :, grid.shape[2] // 2][:, _bone_mask(anatomy, grid)].mean(axis=1)
    return image + generator.uniform(11, 19) * _streaks(grid, bone, generator)


def mr_signal(
    anatomy: Anatomy, grid: Grid, sequence: SpinEcho, generator: np.random.Generator, *, to_petct: np.ndarray
) -> np.ndarray:
    """Simulate a spin-echo magnitude image with bias field, inhomogeneous fat saturation and Rician noise.

    The signal is rho (1 - exp(-TR / T1)) exp(-TE / T2).

    Args:
        anatomy: the patient, in the PET/CT frame.
        grid: axial image grid in the MR frame.
        sequence: parameters of the sequence.
        generator: random number generator.
        to_petct: (4, 4), RAS coordinate in the MR frame to RAS coordinate in the PET/CT frame, mm.

    Returns:
        Arbitrary units, muscle about 100 to 300, float32, (X, Y, Z).
    """
    t1_ms = _property(anatomy, "t1_ms") * np.exp(0.05 * anatomy.texture)
    t2_ms = _property(anatomy, "t2_ms") * np.exp(anatomy.log_t2)
    echo = _property(anatomy, "proton_density") * (1 - np.exp(-sequence.repetition_ms / t1_ms))
    echo *= np.exp(-sequence.echo_ms / t2_ms)
    fatty = np.isin(anatomy.kinds, FATTY)
    blur_mm = np.array([0.6, 0.6, sequence.thickness_mm / BOX_PER_SD])
    points_mm = moved(grid.points_mm, to_petct)
    water, fat = (
        sample(gaussian_filter(np.where(part, echo, 0), blur_mm / FINE_SPACING_MM), anatomy.grid, points_mm)
        for part in (~fatty, fatty)
    )
    signal = (water + fat * _remaining_fat_signal(grid, sequence, generator)) * _bias(grid, generator)
    signal[~_inside(anatomy.grid, points_mm)] = 0
    gain = generator.uniform(700, 1100)
    noise = generator.uniform(0.010, 0.020) * generator.normal(size=(2, *grid.shape)).astype(np.float32)
    return gain * np.hypot(signal + noise[0], noise[1])


def _property(anatomy: Anatomy, name: str) -> np.ndarray:
    """Return the map of one tissue property on the fine grid, float32."""
    return np.array([getattr(anatomy.tissues[kind], name) for kind in Kind], np.float32)[anatomy.kinds]


def _inside(grid: Grid, points_mm: np.ndarray) -> np.ndarray:
    """Return whether points lie within the axial cross-section of a grid centered at the origin."""
    half_mm = np.abs(grid.affine[:2, 3])
    return (np.abs(points_mm[0]) <= half_mm[0]) & (np.abs(points_mm[1]) <= half_mm[1])


def _bone_mask(anatomy: Anatomy, grid: Grid) -> np.ndarray:
    """Return the bone mask in the middle slice of a grid, boolean, (X, Y)."""
    bone = np.isin(anatomy.kinds, (Kind.CORTEX, Kind.MARROW))
    return sample(bone, anatomy.grid, grid.points_mm[:, :, :, grid.shape[2] // 2]) > 0.5


def _streaks(grid: Grid, bone_mm: np.ndarray, generator: np.random.Generator, *, views: int = 72) -> np.ndarray:
    """Draw streak noise of standard deviation 1: ramp-filtered noise of every view, back-projected along its rays.

    Views along the wider diameter and rays through bone have fewer photons and thus stronger streaks.
    """
    x, y = grid.points_mm[:2, :, :, 0]
    step_mm = float(abs(grid.affine[0, 0]))
    bins = int(np.ceil(np.hypot(*grid.shape[:2]))) + 4
    noise = np.zeros(grid.shape, np.float32)
    worst = generator.uniform(0, np.pi)
    excess = generator.uniform(0.5, 3.0)
    bone_x, bone_y = bone_mm
    for angle in np.arange(views) * np.pi / views:
        ray_mm = (np.arange(bins) - bins / 2) * step_mm
        bone_ray_mm = bone_x * np.cos(angle) + bone_y * np.sin(angle)
        starved = 1 + excess * np.exp(-(((ray_mm - bone_ray_mm) / 16) ** 2)) + 0.8 * np.cos(angle - worst) ** 8
        view = _ramp_filtered(generator.normal(size=(grid.shape[2], bins)) * starved).astype(np.float32)
        hit = np.clip(np.rint((x * np.cos(angle) + y * np.sin(angle)) / step_mm + bins / 2), 0, bins - 1).astype(int)
        noise += np.moveaxis(view[:, hit], 0, -1)
    return noise / noise.std()


def _ramp_filtered(views: np.ndarray) -> np.ndarray:
    """Apply the ramp filter of back-projection with a soft window to views (slices, bins)."""
    frequency = np.fft.rfftfreq(views.shape[1])
    window = frequency * np.cos(np.pi * frequency) ** 2
    return np.fft.irfft(np.fft.rfft(views, axis=1) * window, n=views.shape[1], axis=1)


def _remaining_fat_signal(grid: Grid, sequence: SpinEcho, generator: np.random.Generator) -> np.ndarray | float:
    """Draw the fraction of fat signal remaining after fat saturation, which fails in parts of the field."""
    field = smooth_noise(grid, generator, scale_mm=(35, 35, 45))
    if sequence.residual_fat == 1:
        return 1.0
    return np.clip(sequence.residual_fat + 0.22 * np.clip(field - 0.4, 0, None), 0, 0.8)


def _bias(grid: Grid, generator: np.random.Generator) -> np.ndarray:
    """Draw the bias field of the coil, about 1 at the center."""
    strength = generator.uniform(0.10, 0.22)
    slope_per_mm = generator.normal(0, 0.0012, 3)
    offset_mm = grid.points_mm - grid.points_mm.mean(axis=(1, 2, 3), keepdims=True)
    tilt = np.tensordot(slope_per_mm.astype(np.float32), offset_mm, 1)
    return np.exp(strength * smooth_noise(grid, generator, scale_mm=60) + tilt)
