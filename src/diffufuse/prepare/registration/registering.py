"""Find the transform between two images, and measure it."""

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
LEAST_GAIN = 2e-3  # less is noise, for which no image should be interpolated
DEFORMATION_GAIN = 0.05  # SyN raises the similarity of the phantom, which is rigid, by 2 to 3 %


@dataclass(frozen=True)
class Registration:
    """A transform and how far it can be trusted.

    Attributes:
        transform: RAS mm of the reference to RAS mm of the moving image.
        kind: what was asked for: rigid, affine or syn; `given` where the transform was known already.
        similarity_before: mutual information with the positions of the file headers, bits, of the images as they
            are registered (coarser and lightly smoothed); 0 without overlap.
        similarity_after: the same with the transform.
        edges_before: how well the edges fit, see `Likeness.edges`, with the headers' positions.
        edges_after: the same with the transform.
        overlap_before: shared field of view over the smaller of the two, 0..1, with the headers' positions.
        overlap: the same with the transform.
        body_overlap: Dice of where the two images show the patient, within the shared field of view, 0..1.
        displacement_mm: mean distance over the reference's field of view by which the transform moves a point.
        rotation_deg: angle of the rotation, 0..180.
        disagreement_mm: mean distance over the reference's strong edges between the transform and where the edges
            alone, sought from there, put a point. Mutual information and edges err independently.
        folded: share of the voxels at which the transform turns space inside out, 0..1.
        start: where the optimization began: header, center, mass, search, far or turned; `given` where there was none.
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
        """All but the transform, as a record that JSON can hold."""
        return {name: value for name, value in vars(self).items() if name != "transform"}


def register(
    moving: Volume, reference: Volume, *, kind: Kind = "rigid", spacing_mm: float = WORKING_MM
) -> Registration:
    """The transform under which a moving image shares most information with a reference.

    A coarse search (from the headers' positions, from aligned centers, from aligned centers of mass, and from lattices
    of translations) finds the basins; ANTs (Mattes mutual information) and Powell's method optimize in the best three,
    first a rigid matrix, then if wanted an affine one, or a deformation before the rigid matrix, which is kept where it
    raises the similarity by 5 %. The same input gives the same transform.

    Args:
        moving: any modality, on any grid.
        reference: any modality, on any grid.
        kind: `rigid` for a body that keeps its shape, `affine` where distances are off, `syn` where tissue moved.
        spacing_mm: both images are first resampled to voxels of at least this size.

    Returns:
        The transform with its quality. If it does not beat the headers' positions, these stay, with `accepted` False.

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
        matrix = max((matrix, pair.with_ants(matrix, "Affine", FINE)), key=pair.comparison.worth)
    accepted = pair.comparison.worth(matrix) > (1 + LEAST_GAIN) * pair.comparison.worth(np.eye(4))
    if not accepted:
        matrix, start = np.eye(4), "header"
    transform = _deformed(pair, matrix) if kind == "syn" else Transform((matrix,))
    return pair.measured(transform, kind=kind, start=start, accepted=accepted, began=began)


def assess(moving: Volume, reference: Volume, *, transform: Transform, spacing_mm: float = WORKING_MM) -> Registration:
    """The quality of a transform that is known already, measured as `register` measures it.

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
    """Two images as they are registered: coarser, without their rarest values."""

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

    def with_ants(self, start: Affine, kind: Literal["Rigid", "Affine"], schedule: dict[str, object]) -> Affine:
        found = linear_with_ants(self.moving, self.reference, start=start, kind=kind, schedule=schedule)
        if kind == "Rigid":  # single precision leaves it slightly askew
            found[:3, :3] = nearest_rotation(found)
        return found

    def apart_mm(self, first: Affine, second: Affine) -> float:
        """Mean distance over the reference between where two matrices put a point."""
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
        body, signal = _shown(self.reference), self.moving.with_array(_shown(self.moving))
        seen, shared = resample(signal, self.reference, transform=transform, interpolation="nearest")
        total = np.count_nonzero(body & shared) + np.count_nonzero(seen)
        return float(2 * np.count_nonzero(body & (seen > 0)) / total) if total else 0.0

    def _disagreement_mm(self, matrix: Affine) -> float:
        points = self.comparison.edge_points
        by_edges = climb_edges(self.comparison, matrix)
        return float(np.linalg.norm(((matrix - by_edges) @ points)[:3], axis=0).mean())


def _shown(image: Volume) -> np.ndarray:
    """Where an image shows more than background: 8 % of its range above its darkest."""
    low, high = np.percentile(image.array, (0.5, 99))
    return image.array > low + BODY_FRACTION * (high - low)


def _rigid(pair: _Pair) -> tuple[Affine, str]:
    """The best rigid matrix found, and the name of the start that led to it."""
    found = basins(pair.moving, pair.reference)
    ranked = sorted(found, key=lambda name: -pair.comparison.worth(found[name]))
    tried = {ranked[0]: found[ranked[0]]}
    for name in ranked[1:]:
        new = all(pair.apart_mm(found[name], other) > SAME_BASIN_MM for other in tried.values())
        if new and len(tried) < BASINS_TRIED:
            tried[name] = found[name]
    ends = {name: _climbed(pair, start) for name, start in tried.items()}
    best = max(ends, key=lambda name: pair.comparison.worth(ends[name]))
    return ends[best], best


def _deformed(pair: _Pair, matrix: Affine) -> Transform:
    """The deformation where it explains clearly more than the matrix does; fitting noise alone explains a little."""
    deformed = deform_with_ants(pair.moving, pair.reference, start=matrix)
    gained = pair.comparison.worth(deformed) >= (1 + DEFORMATION_GAIN) * pair.comparison.worth(matrix)
    return deformed if gained else Transform((matrix,))


def _climbed(pair: _Pair, start: Affine) -> Affine:
    """The top of the basin in which a matrix lies, by ANTs and then by Powell's method.

    ANTs looks at a random third of the voxels, and where two images share few edges it stops millimeters early.
    """
    steps = [start]
    for schedule in (COARSE, FINE):
        steps.append(pair.with_ants(steps[-1], "Rigid", schedule))
    best = max(steps, key=pair.comparison.worth)
    return climb(pair.comparison, best, reach=LAST_REACH, about_mm=center_mm(pair.reference))
