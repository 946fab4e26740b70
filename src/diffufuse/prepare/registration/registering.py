"""Register two images, and measure the quality of a transform."""

import time
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from diffufuse.prepare.registration.ants_bridge import COARSE, FINE, deform_with_ants, linear_with_ants
from diffufuse.prepare.registration.search import basins, climb, climb_edges, coarser, comparison_at
from diffufuse.prepare.similarity import Comparison, clipped
from diffufuse.space.resampling import center_mm, resample
from diffufuse.space.transforms import Transform, nearest_rotation, rotation_angle_deg
from diffufuse.space.volumes import Volume
from diffufuse.types import Affine

Kind: TypeAlias = Literal["rigid", "affine", "syn"]
KINDS: tuple[str, ...] = get_args(Kind)
WORKING_MM = 3.0
COMPARED_POINTS = 30_000
BASINS_TRIED = 3
LAST_REACH = np.array([8.0, 8, 8, 8, 8, 8])  # mm and degrees
SAME_BASIN_MM = 3.0
BODY_FRACTION = 0.08
LEAST_GAIN = 2e-3  # a smaller gain is noise and does not justify an interpolation
DEFORMATION_GAIN = 0.05  # SyN raises the similarity of the phantom, which is rigid, by 2 to 3 %


@dataclass(frozen=True)
class Registration:
    """A transform and its quality measures.

    Attributes:
        transform: RAS mm of the reference to RAS mm of the moving image.
        kind: requested kind: rigid, affine or syn; `given` for an existing transform.
        similarity_before: mutual information at the headers' positions, bits, of the images at registration resolution
            (coarser and lightly smoothed); 0 without overlap.
        similarity_after: the same with the transform.
        edges_before: agreement of edges, see `Similarity.edges`, at the headers' positions.
        edges_after: the same with the transform.
        overlap_before: shared field of view over the smaller of the two, 0..1, at the headers' positions.
        overlap: the same with the transform.
        body_overlap: Dice of the two foreground masks within the shared field of view, 0..1.
        displacement_mm: mean displacement by the transform over the reference's field of view.
        rotation_deg: angle of the rotation, 0..180.
        disagreement_mm: mean distance over the reference's strong edges between the transform and a registration by
            edges alone that starts from it. Mutual information and edges err independently.
        folded: fraction of voxels with a non-positive Jacobian determinant, 0..1.
        start: initialization: header, center, mass, search, far or turned; `given` for an existing transform.
        accepted: False where the optimization did not raise the similarity; the transform is then the identity.
    """

    transform: Transform
    kind: str
    similarity_before: float
    similarity_after: float
    edges_before: float
    edges_after: float
    overlap_before: float
    overlap: float
    body_overlap: float
    displacement_mm: float
    rotation_deg: float
    disagreement_mm: float
    folded: float
    start: str
    accepted: bool

    def quality(self) -> dict[str, float | str | bool]:
        """Return all measures except the transform, as a JSON record."""
        return {name: value for name, value in vars(self).items() if name != "transform"}


def register(
    moving: Volume, reference: Volume, *, kind: Kind = "rigid", spacing_mm: float = WORKING_MM
) -> Registration:
    """Register a moving image to a reference by mutual information.

    A coarse multi-start search (from the headers' positions, aligned centers, aligned centers of mass, and lattices of
    translations) yields candidates; ANTs (Mattes mutual information) and Powell's method optimize the best three: a
    rigid matrix, then an affine one (`affine`), or a deformation (`syn`), which is kept only if it raises the
    similarity by 5 %. The result is deterministic.

    Args:
        moving: any modality, on any grid.
        reference: any modality, on any grid.
        kind: `rigid`, `affine` for scale errors, or `syn` for deformed tissue.
        spacing_mm: both images are first resampled to voxels of at least this size.

    Returns:
        The transform with its quality; the identity with `accepted` False if it is not better than the headers'
        positions.

    Raises:
        ValueError: an image is constant or not finite, or the kind is unknown.

    Source:
        Mattes et al. 2003, PET-CT image registration in the chest using free-form deformations; ANTs.
    """
    began = time.perf_counter()
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    pair = _Pair.of(moving, reference, spacing_mm=spacing_mm)
    matrix, start = _rigid(pair)
    if kind == "affine":
        matrix = max((matrix, pair.optimized_by_ants(matrix, "Affine", FINE)), key=pair.comparison.objective)
    accepted = pair.comparison.objective(matrix) > (1 + LEAST_GAIN) * pair.comparison.objective(np.eye(4))
    if not accepted:
        matrix, start = np.eye(4), "header"
    transform = _deformed(pair, matrix) if kind == "syn" else Transform((matrix,))
    return pair.measured(transform, kind=kind, start=start, accepted=accepted, began=began)


def assess(moving: Volume, reference: Volume, *, transform: Transform, spacing_mm: float = WORKING_MM) -> Registration:
    """Measure the quality of an existing transform as in `register`.

    Args:
        moving: any modality, on any grid.
        reference: any modality, on any grid.
        transform: RAS mm of the reference to RAS mm of the moving image.
        spacing_mm: both images are first resampled to voxels of at least this size.

    Returns:
        The transform with its quality; its kind and its start are `given`.
    """
    pair = _Pair.of(moving, reference, spacing_mm=spacing_mm)
    return pair.measured(transform, kind="given", start="given", accepted=True, began=time.perf_counter())


@dataclass(frozen=True)
class _Pair:
    """Two images at registration resolution, clipped to their robust range."""

    moving: Volume
    reference: Volume
    comparison: Comparison

    @classmethod
    def of(cls, moving: Volume, reference: Volume, *, spacing_mm: float) -> "_Pair":
        for name, volume in (("moving", moving), ("reference", reference)):
            if not np.isfinite(volume.array).all() or np.ptp(volume.array) == 0:
                raise ValueError(f"{name}: expected finite values that vary, got a constant or non-finite image")
        moving, reference = (coarser(clipped(volume), spacing_mm=spacing_mm) for volume in (moving, reference))
        comparison = comparison_at(moving, reference, spacing_mm=spacing_mm, most_points=COMPARED_POINTS)
        return cls(moving, reference, comparison)

    def optimized_by_ants(self, start: Affine, kind: Literal["Rigid", "Affine"], schedule: dict[str, object]) -> Affine:
        matrix = linear_with_ants(self.moving, self.reference, start=start, kind=kind, schedule=schedule)
        if kind == "Rigid":  # single precision leaves it slightly askew
            matrix[:3, :3] = nearest_rotation(matrix)
        return matrix

    def mean_distance_mm(self, first: Affine, second: Affine) -> float:
        """Return the mean distance over the reference between points mapped by two matrices, mm."""
        return float(np.linalg.norm(((first - second) @ self.comparison.points)[:3], axis=0).mean())

    def measured(self, transform: Transform, *, kind: str, start: str, accepted: bool, began: float) -> Registration:
        before, after = self.comparison.at(Transform()), self.comparison.at(transform)
        points = self.comparison.points[:3]
        return Registration(
            transform=transform,
            kind=kind,
            similarity_before=before.bits,
            similarity_after=after.bits,
            edges_before=before.edges,
            edges_after=after.edges,
            overlap_before=before.overlap,
            overlap=after.overlap,
            body_overlap=self._body_overlap(transform),
            displacement_mm=float(np.linalg.norm(transform.apply(points) - points, axis=0).mean()),
            rotation_deg=rotation_angle_deg(transform.matrix),
            disagreement_mm=self._disagreement_mm(transform.matrix),
            folded=max((warp.folded() for warp in transform.warps), default=0.0),
            start=start,
            accepted=accepted,
        )

    def _body_overlap(self, transform: Transform) -> float:
        body, signal = _foreground(self.reference), self.moving.with_array(_foreground(self.moving))
        moved_signal, shared_view = resample(signal, self.reference, transform=transform, interpolation="nearest")
        total = np.count_nonzero(body & shared_view) + np.count_nonzero(moved_signal)
        return float(2 * np.count_nonzero(body & (moved_signal > 0)) / total) if total else 0.0

    def _disagreement_mm(self, matrix: Affine) -> float:
        points = self.comparison.edge_points
        by_edges = climb_edges(self.comparison, matrix)
        return float(np.linalg.norm(((matrix - by_edges) @ points)[:3], axis=0).mean())


def _foreground(image: Volume) -> np.ndarray:
    """Return the foreground of an image: above 8 % of its robust range."""
    low, high = np.percentile(image.array, (0.5, 99))
    return image.array > low + BODY_FRACTION * (high - low)


def _rigid(pair: _Pair) -> tuple[Affine, str]:
    """Return the best rigid matrix and the name of its start."""
    candidates = basins(pair.moving, pair.reference)
    ranked = sorted(candidates, key=lambda name: -pair.comparison.objective(candidates[name]))
    starts = {ranked[0]: candidates[ranked[0]]}
    for name in ranked[1:]:
        is_new = all(pair.mean_distance_mm(candidates[name], other) > SAME_BASIN_MM for other in starts.values())
        if is_new and len(starts) < BASINS_TRIED:
            starts[name] = candidates[name]
    optima = {name: _optimized(pair, start) for name, start in starts.items()}
    best = max(optima, key=lambda name: pair.comparison.objective(optima[name]))
    return optima[best], best


def _deformed(pair: _Pair, matrix: Affine) -> Transform:
    """Return the SyN transform if it clearly raises the similarity, else the matrix; noise raises it slightly."""
    deformation = deform_with_ants(pair.moving, pair.reference, start=matrix)
    improved = pair.comparison.objective(deformation) >= (1 + DEFORMATION_GAIN) * pair.comparison.objective(matrix)
    return deformation if improved else Transform((matrix,))


def _optimized(pair: _Pair, start: Affine) -> Affine:
    """Optimize a rigid matrix by ANTs and then by Powell's method.

    ANTs samples a random third of the voxels, and stops millimeters early where two images share few edges.
    """
    steps = [start]
    for schedule in (COARSE, FINE):
        steps.append(pair.optimized_by_ants(steps[-1], "Rigid", schedule))
    best = max(steps, key=pair.comparison.objective)
    return climb(pair.comparison, best, reach=LAST_REACH, about_mm=center_mm(pair.reference))
