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
from scipy.ndimage import map_coordinates
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from diffufuse.resampling import center_mm, common_grid, resample
from diffufuse.types import Affine
from diffufuse.volumes import Volume

SEED = 123
BINS = 32
ROBUST_PERCENTILES = (0.5, 99.5)
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
LEAST_OVERLAP = 0.5
SEARCH_STEP_MM = 16.0
SEARCH_REACH_MM = 48.0
SEARCH_SPACING_MM = 8.0
COARSE: dict[str, Any] = {"aff_shrink_factors": (3, 2), "aff_smoothing_sigmas": (2, 1), "aff_iterations": (200, 200)}
FINE: dict[str, Any] = {"aff_shrink_factors": (1,), "aff_smoothing_sigmas": (0,), "aff_iterations": (50,)}


@dataclass(frozen=True)
class Registration:
    """A rigid transform and how far it can be trusted.

    Attributes:
        matrix: (4, 4), RAS mm of the reference to RAS mm of the moving image.
        similarity_before: mutual information with the positions of the file headers, bits; 0 without overlap.
        similarity_after: the same with `matrix`.
        overlap_before: shared field of view over the smaller of the two, 0..1, with the headers' positions.
        overlap: the same with `matrix`.
        displacement_mm: mean distance over the reference's field of view by which `matrix` moves a point.
        rotation_deg: angle of the rotation, 0..180.
        start: where the accepted optimization began: header, center, mass or search.
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


def register_rigid(moving: Volume, reference: Volume, *, spacing_mm: float = 3.0) -> Registration:
    """Rotation and translation under which a moving image shares most information with a reference.

    ANTs (Rigid, Mattes mutual information) starts coarsely from the headers' positions, from aligned centers, from
    aligned centers of mass and from the best of a search over translations; the best result is refined. The same
    input gives the same matrix.

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
    for name, volume in (("moving", moving), ("reference", reference)):
        if not np.isfinite(volume.array).all() or np.ptp(volume.array) == 0:
            raise ValueError(f"{name}: expected finite values that vary, got a constant or non-finite image")
    moving, reference = (_coarser(_clipped(volume), spacing_mm=spacing_mm) for volume in (moving, reference))
    before_bits, before_overlap = similarity(moving, reference, matrix=np.eye(4))
    found, start, bits, overlap = _optimized(moving, reference)
    accepted = bits > before_bits
    matrix = found if accepted else np.eye(4)
    return Registration(
        matrix=matrix,
        similarity_before=before_bits,
        similarity_after=bits if accepted else before_bits,
        overlap_before=before_overlap,
        overlap=overlap if accepted else before_overlap,
        displacement_mm=float(np.linalg.norm(_displacements_mm(matrix, reference), axis=0).mean()),
        rotation_deg=float(np.rad2deg(Rotation.from_matrix(matrix[:3, :3]).magnitude())),
        start=start if accepted else "header",
        accepted=accepted,
        runtime_s=time.perf_counter() - began,
    )


def similarity(moving: Volume, reference: Volume, *, matrix: Affine) -> tuple[float, float]:
    """Mutual information of two images where both were acquired, and how much of them that is.

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
    return _Comparison.between(moving, reference).at(matrix)


@dataclass(frozen=True)
class _Comparison:
    """What the similarity of two images needs, computed once for many matrices."""

    points: np.ndarray  # (4, N) homogeneous RAS mm of the reference's voxels
    reference_bins: np.ndarray  # (N,)
    moving_bins: np.ndarray  # (X, Y, Z) fractional bin of each moving voxel
    index_from_mm: np.ndarray
    full_overlap: float

    @classmethod
    def between(cls, moving: Volume, reference: Volume) -> "_Comparison":
        indices = np.indices(reference.shape).reshape(3, -1)
        points = reference.affine @ np.vstack([indices, np.ones(indices.shape[1])])
        size = abs(np.linalg.det(moving.affine[:3, :3])) * moving.array.size
        voxel = abs(np.linalg.det(reference.affine[:3, :3]))
        return cls(
            points=points,
            reference_bins=np.clip(_bins(reference.array).ravel() + 0.5, 0, BINS - 1).astype(int),
            moving_bins=_bins(moving.array).astype(np.float32),
            index_from_mm=np.linalg.inv(moving.affine),
            full_overlap=min(size / voxel, points.shape[1]),
        )

    def at(self, matrix: Affine) -> tuple[float, float]:
        index = (self.index_from_mm @ matrix @ self.points)[:3]
        count = np.array(self.moving_bins.shape)[:, None]
        inside = ((index >= -0.5) & (index <= count - 0.5)).all(axis=0)
        if not inside.any():
            return 0.0, 0.0
        bins = map_coordinates(self.moving_bins, index[:, inside], order=1, mode="nearest")
        overlap = min(1.0, float(np.count_nonzero(inside) / self.full_overlap))
        return _mutual_information_bits(self.reference_bins[inside], bins), overlap


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
    seen = joint > 0
    return max(0.0, float((joint[seen] * np.log2(joint[seen] / independent[seen])).sum()))


def _optimized(moving: Volume, reference: Volume) -> tuple[Affine, str, float, float]:
    """Matrix, its start, similarity in bits and overlap, of the best of several optimizations."""
    comparison = _Comparison.between(moving, reference)
    starts = _starts(moving, reference)
    results = {}
    for name, start in starts.items():
        bits, overlap = comparison.at(start)
        results[name] = (bits if overlap >= LEAST_OVERLAP else 0.0)
    name = max(results, key=results.__getitem__)
    tried = [starts[name]]
    for schedule in (COARSE, FINE):
        tried.append(_ants_rigid(moving, reference, start=tried[-1], schedule=schedule))
    scored = [(*comparison.at(matrix), matrix) for matrix in tried]
    import os
    if os.environ.get('DBG'): print('   ', name, {k:round(v,3) for k,v in results.items()}, [round(x[0],3) for x in scored])
    bits, overlap, matrix = max(scored, key=lambda entry: entry[0])
    return matrix, name, bits, overlap


def _starts(moving: Volume, reference: Volume) -> dict[str, Affine]:
    """Coarsely optimized transforms, by the translation from which they were sought."""
    shifts = {
        "header": np.zeros(3),
        "center": center_mm(moving) - center_mm(reference),
        "mass": _mass_center_mm(moving) - _mass_center_mm(reference),
    }
    comparison = _Comparison.between(*(_coarser(v, spacing_mm=SEARCH_SPACING_MM) for v in (moving, reference)))
    shifts = {name: shift for name, shift in shifts.items() if comparison.at(_translation(shift))[1] > 0}
    shifts["search"] = _searched(comparison, list(shifts.values()))
    center = center_mm(reference)
    return {name: _coarse_rigid(comparison, shift, center) for name, shift in shifts.items()}


def _coarse_rigid(comparison: _Comparison, shift: np.ndarray, center: np.ndarray) -> Affine:
    """The rigid matrix of most similarity near a translation, by Powell's method."""

    def cost(parameters: np.ndarray) -> float:
        bits, overlap = comparison.at(_rigid(shift + parameters[:3], parameters[3:], center))
        return -bits if overlap >= LEAST_OVERLAP else 0.0

    found = minimize(cost, np.zeros(6), method="Powell", bounds=[(-30,30)]*3+[(-25,25)]*3, options={"xtol": 0.1, "ftol": 1e-4}).x
    return _rigid(shift + found[:3], found[3:], center)


def _rigid(shift_mm: np.ndarray, rotation_deg: np.ndarray, center_mm: np.ndarray) -> Affine:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.deg2rad(rotation_deg)).as_matrix()
    matrix[:3, 3] = center_mm + shift_mm - matrix[:3, :3] @ center_mm
    return matrix


def _searched(comparison: _Comparison, around: list[np.ndarray]) -> np.ndarray:
    """The translation of most similarity among a grid around each candidate, in mm."""
    steps = np.arange(-SEARCH_REACH_MM, SEARCH_REACH_MM + 1, SEARCH_STEP_MM)
    shifts = [center + np.array(step) for center in around for step in product(steps, repeat=3)]
    scores = [comparison.at(_translation(shift)) for shift in shifts]
    allowed = [bits if overlap >= LEAST_OVERLAP else 0.0 for bits, overlap in scores]
    return shifts[int(np.argmax(allowed))]


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


def _clipped(volume: Volume) -> Volume:
    low, high = np.percentile(volume.array, ROBUST_PERCENTILES)
    return volume.with_array(np.clip(volume.array, low, high).astype(np.float32)) if high > low else volume


def _coarser(volume: Volume, *, spacing_mm: float) -> Volume:
    x, y, z = (max(own, spacing_mm) for own in volume.spacing_mm)
    grid = common_grid(volume, spacing_mm=(x, y, z))
    return grid.with_array(resample(volume, grid)[0])


def _displacements_mm(matrix: Affine, reference: Volume) -> np.ndarray:
    """How far the matrix moves each voxel of the reference, (3, N) mm."""
    indices = np.indices(reference.shape).reshape(3, -1)
    points = reference.affine @ np.vstack([indices, np.ones(indices.shape[1])])
    return np.asarray(((matrix - np.eye(4)) @ points)[:3])


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
            aff_random_sampling_rate=0.3,
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
