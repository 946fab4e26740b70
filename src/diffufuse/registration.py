"""Where one image of a patient lies in another: rigid registration by mutual information.

A transform is a (4, 4) matrix that maps **RAS mm of the reference to RAS mm of the moving image**, so that the moving
image on the reference's grid is `moving(matrix @ point)`. ANTs uses the same direction in LPS mm.
"""

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import ants
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from diffufuse.resampling import center_mm, common_grid, resample
from diffufuse.similarity import BINS, Comparison, clipped
from diffufuse.types import Affine
from diffufuse.volumes import Volume

SEED = 123
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SEARCH_STEP_MM = 16.0
SEARCH_REACH_MM = 48.0
SEARCH_SPACING_MM = 8.0
START_REACH_MM = 30.0
START_REACH_DEG = 25.0
SAMPLED_FRACTION = 0.3
WORKING_MM = 3.0
SMOOTHING_VOXELS = 0.7
COARSE: dict[str, Any] = {"aff_shrink_factors": (2,), "aff_smoothing_sigmas": (1,), "aff_iterations": (200,)}
FINE: dict[str, Any] = {"aff_shrink_factors": (1,), "aff_smoothing_sigmas": (0,), "aff_iterations": (50,)}


@dataclass(frozen=True)
class Registration:
    """A rigid transform and how far it can be trusted.

    Attributes:
        matrix: (4, 4), RAS mm of the reference to RAS mm of the moving image.
        similarity_before: mutual information with the positions of the file headers, bits, of the images as they
            are registered (coarser and lightly smoothed); 0 without overlap.
        similarity_after: the same with `matrix`.
        overlap_before: shared field of view over the smaller of the two, 0..1, with the headers' positions.
        overlap: the same with `matrix`.
        displacement_mm: mean distance over the reference's field of view by which `matrix` moves a point.
        rotation_deg: angle of the rotation, 0..180.
        start: where the optimization began: header, center, mass or search; `given` where there was none.
        accepted: False where the optimization did not raise the similarity; `matrix` is then the identity.
        runtime_s: wall-clock time.
    """

    matrix: Affine
    similarity_before: float
    similarity_after: float
    overlap_before: float
    overlap: float
    displacement_mm: float
    rotation_deg: float
    start: str
    accepted: bool
    runtime_s: float

    def quality(self) -> dict[str, float | str | bool]:
        """All but the matrix, as a record that JSON can hold."""
        return {name: value for name, value in vars(self).items() if name != "matrix"}


def register_rigid(moving: Volume, reference: Volume, *, spacing_mm: float = WORKING_MM) -> Registration:
    """Rotation and translation under which a moving image shares most information with a reference.

    A coarse search (from the headers' positions, from aligned centers, from aligned centers of mass, and from the
    best of a lattice of translations) finds the basin; ANTs (Rigid, Mattes mutual information) optimizes in it. The
    same input gives the same matrix.

    Args:
        moving: any modality, on any grid.
        reference: any modality, on any grid.
        spacing_mm: both images are first resampled to voxels of at least this size.

    Returns:
        The transform with its quality. If it does not beat the headers' positions, these stay, with `accepted` False.

    Raises:
        ValueError: an image is constant or not finite.

    Source:
        Mattes et al. 2003, PET-CT image registration in the chest using free-form deformations; ANTs.
    """
    began = time.perf_counter()
    _require_varying(moving, reference)
    moving, reference = (_coarser(clipped(volume), spacing_mm=spacing_mm) for volume in (moving, reference))
    comparison = Comparison.between(_smoother(moving), _smoother(reference))
    matrix, start = _optimized(moving, reference, comparison)
    accepted = comparison.worth(matrix) > comparison.worth(np.eye(4))
    if not accepted:
        matrix, start = np.eye(4), "header"
    runtime_s = time.perf_counter() - began
    return _assessed(comparison, matrix, reference, start=start, accepted=accepted, runtime_s=runtime_s)


def assess(moving: Volume, reference: Volume, *, matrix: Affine, spacing_mm: float = WORKING_MM) -> Registration:
    """The quality of a transform that is known already, measured as `register_rigid` measures it.

    Args:
        moving: any modality, on any grid.
        reference: any modality, on any grid.
        matrix: (4, 4), RAS mm of the reference to RAS mm of the moving image.
        spacing_mm: both images are first resampled to voxels of at least this size.

    Returns:
        The transform with its quality; its start is `given`.
    """
    _require_varying(moving, reference)
    moving, reference = (_coarser(clipped(volume), spacing_mm=spacing_mm) for volume in (moving, reference))
    comparison = Comparison.between(_smoother(moving), _smoother(reference))
    return _assessed(comparison, matrix, reference, start="given", accepted=True, runtime_s=0.0)


def _require_varying(moving: Volume, reference: Volume) -> None:
    for name, volume in (("moving", moving), ("reference", reference)):
        if not np.isfinite(volume.array).all() or np.ptp(volume.array) == 0:
            raise ValueError(f"{name}: expected finite values that vary, got a constant or non-finite image")


def _assessed(
    comparison: Comparison, matrix: Affine, reference: Volume, *, start: str, accepted: bool, runtime_s: float
) -> Registration:
    before_bits, before_overlap = comparison.at(np.eye(4))
    after_bits, overlap = comparison.at(matrix)
    return Registration(
        matrix=matrix,
        similarity_before=before_bits,
        similarity_after=after_bits,
        overlap_before=before_overlap,
        overlap=overlap,
        displacement_mm=float(np.linalg.norm(((matrix - np.eye(4)) @ comparison.points)[:3], axis=0).mean()),
        rotation_deg=float(np.rad2deg(Rotation.from_matrix(matrix[:3, :3]).magnitude())),
        start=start,
        accepted=accepted,
        runtime_s=runtime_s,
    )


def _optimized(moving: Volume, reference: Volume, comparison: Comparison) -> tuple[Affine, str]:
    """The best matrix found, and the name of the start that led to it."""
    starts = _starts(moving, reference)
    name = max(starts, key=lambda start: comparison.worth(starts[start]))
    tried = [starts[name]]
    for schedule in (COARSE, FINE):
        tried.append(_ants_rigid(moving, reference, start=tried[-1], schedule=schedule))
    return max(tried, key=comparison.worth), name


def _starts(moving: Volume, reference: Volume) -> dict[str, Affine]:
    """Coarsely optimized transforms, by the translation from which they were sought."""
    shifts = {
        "header": np.zeros(3),
        "center": center_mm(moving) - center_mm(reference),
        "mass": _mass_center_mm(moving) - _mass_center_mm(reference),
    }
    comparison = Comparison.between(*(_coarser(v, spacing_mm=SEARCH_SPACING_MM) for v in (moving, reference)))
    shifts = {name: shift for name, shift in shifts.items() if comparison.at(_translation(shift))[1] > 0}
    shifts["search"] = _searched(comparison, list(shifts.values()))
    center = center_mm(reference)
    return {name: _coarse_rigid(comparison, shift, center) for name, shift in shifts.items()}


def _coarse_rigid(comparison: Comparison, shift_mm: np.ndarray, center: np.ndarray) -> Affine:
    """The rigid matrix of most similarity near a translation, by Powell's method."""

    def cost(parameters: np.ndarray) -> float:
        return -comparison.worth(_rigid(shift_mm + parameters[:3], parameters[3:], center))

    reach = [(-START_REACH_MM, START_REACH_MM)] * 3 + [(-START_REACH_DEG, START_REACH_DEG)] * 3
    found = minimize(cost, np.zeros(6), method="Powell", bounds=reach, options={"xtol": 0.1, "ftol": 1e-4}).x
    return _rigid(shift_mm + found[:3], found[3:], center)


def _rigid(shift_mm: np.ndarray, rotation_deg: np.ndarray, center_mm: np.ndarray) -> Affine:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.deg2rad(rotation_deg)).as_matrix()
    matrix[:3, 3] = center_mm + shift_mm - matrix[:3, :3] @ center_mm
    return matrix


def _searched(comparison: Comparison, around: list[np.ndarray]) -> np.ndarray:
    """The translation of most similarity among a grid around each candidate, in mm."""
    steps = np.arange(-SEARCH_REACH_MM, SEARCH_REACH_MM + 1, SEARCH_STEP_MM)
    shifts = [center + np.array(step) for center in around for step in product(steps, repeat=3)]
    return max(shifts, key=lambda shift: comparison.worth(_translation(shift)))


def _translation(shift_mm: np.ndarray) -> Affine:
    matrix = np.eye(4)
    matrix[:3, 3] = shift_mm
    return matrix


def _mass_center_mm(volume: Volume) -> np.ndarray:
    weights = volume.array.astype(np.float64) - volume.array.min()
    index = [np.average(np.arange(n), weights=weights.sum(axis=_others(axis))) for axis, n in enumerate(volume.shape)]
    return volume.affine[:3, :3] @ np.array(index) + volume.affine[:3, 3]


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)


def _coarser(volume: Volume, *, spacing_mm: float) -> Volume:
    x, y, z = (max(own, spacing_mm) for own in volume.spacing_mm)
    grid = common_grid(volume, spacing_mm=(x, y, z))
    return grid.with_array(resample(volume, grid)[0])


def _smoother(volume: Volume) -> Volume:
    """Without most noise: interpolation smooths it away too, and would be rewarded for lying between voxels."""
    return volume.with_array(gaussian_filter(volume.array, SMOOTHING_VOXELS))


def _ants_rigid(moving: Volume, reference: Volume, *, start: Affine, schedule: dict[str, Any]) -> Affine:
    with _deterministic(), tempfile.TemporaryDirectory() as folder:
        initial = str(Path(folder) / "start.mat")
        ants.write_transform(to_ants_transform(start), initial)
        found = ants.registration(
            fixed=to_ants_image(reference),
            moving=to_ants_image(moving),
            type_of_transform="Rigid",
            aff_metric="mattes",
            aff_sampling=BINS,
            aff_random_sampling_rate=SAMPLED_FRACTION,
            initial_transform=initial,
            outprefix=str(Path(folder) / "rigid"),
            **schedule,
        )
        return _orthonormal(from_ants_transform(ants.read_transform(found["fwdtransforms"][0])))


@contextmanager
def _deterministic() -> Iterator[None]:
    """ANTs with a fixed seed, without leaving NumPy's and Python's own generators reseeded."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    ants.config.set_ants_deterministic(on=True, seed_value=SEED)
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def to_ants_image(volume: Volume) -> Any:
    """An ANTs image in LPS mm with the same voxels."""
    affine = LPS_FROM_RAS @ volume.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return ants.from_numpy(
        np.ascontiguousarray(volume.array, np.float32),
        origin=tuple(affine[:3, 3]),
        spacing=tuple(spacing),
        direction=affine[:3, :3] / spacing,
    )


def to_ants_transform(matrix: Affine) -> Any:
    """The ANTs transform (LPS mm, about the origin) of a RAS matrix."""
    lps = LPS_FROM_RAS @ matrix @ LPS_FROM_RAS
    parameters = np.concatenate([lps[:3, :3].ravel(), lps[:3, 3]])
    return ants.create_ants_transform(
        transform_type="AffineTransform", dimension=3, precision="double", parameters=parameters
    )


def from_ants_transform(transform: Any) -> Affine:
    """The RAS matrix of a linear ANTs transform: `y = A (x - c) + c + t` in LPS mm."""
    parameters, center = np.array(transform.parameters, float), np.array(transform.fixed_parameters, float)
    lps = np.eye(4)
    lps[:3, :3] = parameters[:9].reshape(3, 3)
    lps[:3, 3] = parameters[9:] + center - lps[:3, :3] @ center
    return LPS_FROM_RAS @ lps @ LPS_FROM_RAS


def _orthonormal(matrix: Affine) -> Affine:
    """The rigid matrix nearest to one that single precision left slightly askew."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    rigid = matrix.copy()
    rigid[:3, :3] = left @ right
    return rigid
