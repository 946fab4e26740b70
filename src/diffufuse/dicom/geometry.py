"""The nine checks of a regular volume of the Imaging Data Commons, under its names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from diffufuse.dicom.planes import Plane
from diffufuse.space.affines import ORTHONORMAL_TOLERANCE

COSINE_TOLERANCE = 1e-4
SPACING_TOLERANCE_MM = 1e-4
IN_PLANE_TOLERANCE_MM = 0.1
GAP_TOLERANCE = 0.05  # of the slice distance; whole-body PET joins its beds with gaps 2.4 % off, where IDC allows 1 %
SAME_POSITION_MM = 1e-3
REGULAR = "regularly_spaced_3d_volume"


@dataclass(frozen=True)
class GeometryReport:
    """Results of the nine checks.

    Attributes:
        verdicts: check name to its result; the last, `regularly_spaced_3d_volume`, is True if all others are.
        reasons: one sentence per failed check, in the order of the checks.
        obliquity_degrees: angle between the slice normal and the nearest axis of the patient.
        slice_spacing_mm: median distance of neighboring slices along the normal; NaN for a single position.
    """

    verdicts: dict[str, bool]
    reasons: tuple[str, ...] = field(repr=False)
    obliquity_degrees: float
    slice_spacing_mm: float


def report_on(planes: Sequence[Plane]) -> GeometryReport:
    """Run the nine geometry checks.

    Args:
        planes: at least one, in any order.

    Source:
        volume_geometry_index of the Imaging Data Commons (its published query); tolerances as above.
    """
    ordered = in_order(planes)
    results = {name: check(ordered) for name, check in CHECKS.items()}
    reasons = tuple(reason for reason in results.values() if reason)
    normal = np.abs(ordered[0].normal) / max(float(np.linalg.norm(ordered[0].normal)), np.finfo(float).tiny)
    return GeometryReport(
        verdicts={name: not reason for name, reason in results.items()} | {REGULAR: not reasons},
        reasons=reasons,
        obliquity_degrees=round(float(np.degrees(np.arccos(min(normal.max(), 1.0)))), 2),
        slice_spacing_mm=usual_gap_mm(ordered),
    )


def in_order(planes: Sequence[Plane]) -> list[Plane]:
    """Sort planes by position along the normal of the first; file name and slice number are ignored."""
    normal = planes[0].normal
    return sorted(planes, key=lambda plane: float(plane.position_mm @ normal))


def along_mm(planes: Sequence[Plane]) -> np.ndarray:
    """Return the slice positions (N,), mm: ImagePositionPatient projected onto the normal of the first plane."""
    return np.array([plane.position_mm for plane in planes]) @ planes[0].normal


def usual_gap_mm(planes: Sequence[Plane]) -> float:
    """Return the median distance of distinct neighboring positions, mm; NaN for a single position."""
    gaps_mm = np.diff(along_mm(planes))
    apart = gaps_mm[gaps_mm > SAME_POSITION_MM]
    return float(np.median(apart)) if len(apart) else float("nan")


def missing_slices(planes: Sequence[Plane]) -> np.ndarray | None:
    """Return the number of missing slices after each plane but the last.

    Returns:
        (N - 1,), integer; None where a gap is not a multiple of the median one.
    """
    gaps, usual_mm = np.diff(along_mm(planes)), usual_gap_mm(planes)
    steps = np.rint(gaps / usual_mm)
    if not (np.abs(gaps - steps * usual_mm) <= GAP_TOLERANCE * usual_mm).all() or steps.min(initial=1) < 1:
        return None
    return steps.astype(int) - 1


def single_orientation(planes: Sequence[Plane]) -> str:
    """Return why the planes differ in orientation, or an empty string."""
    return _differing(planes, "one orientation", lambda plane: plane.cosines, COSINE_TOLERANCE)


def orthogonal_orientation(planes: Sequence[Plane]) -> str:
    """Return why row and column directions are not orthonormal, or an empty string."""
    for plane in planes:
        if np.abs(plane.cosines @ plane.cosines.T - np.eye(2)).max() > ORTHONORMAL_TOLERANCE:
            return (
                f"{plane.file.path}: expected unit directions at right angles, got {plane.cosines.tolist()}; "
                "export it again."
            )
    return ""


def consistent_pixel_spacing(planes: Sequence[Plane]) -> str:
    """Return why the planes differ in pixel spacing, or an empty string."""
    return _differing(planes, "one pixel spacing", lambda plane: plane.spacing_mm, SPACING_TOLERANCE_MM)


def consistent_image_dimensions(planes: Sequence[Plane]) -> str:
    """Return why the planes differ in rows or columns, or an empty string."""
    return _differing(planes, "one number of rows and columns", lambda plane: np.array(plane.shape), 0)


def unique_slice_positions(planes: Sequence[Plane]) -> str:
    """Return why slice positions are not unique, or an empty string."""
    positions_mm, usual_mm = along_mm(planes), usual_gap_mm(planes)
    least_mm = SAME_POSITION_MM if np.isnan(usual_mm) else max(GAP_TOLERANCE * usual_mm, SAME_POSITION_MM)
    same = np.flatnonzero(np.diff(positions_mm) <= least_mm)
    if not len(same):
        return ""
    before, after = planes[same[0]], planes[same[0] + 1]
    return (
        f"{after.file.path}: expected one slice per position, but {before.name} and {after.name} are the same at "
        f"{positions_mm[same[0]]:.2f} mm ({len(same)} of {len(planes)} slices repeat a position); remove the "
        "duplicates or separate the time frames."
    )


def consistent_in_plane_row(planes: Sequence[Plane]) -> str:
    """Return why slices shift along their rows, or an empty string."""
    return _shifting(planes, 0, "rows")


def consistent_in_plane_col(planes: Sequence[Plane]) -> str:
    """Return why slices shift along their columns, or an empty string."""
    return _shifting(planes, 1, "columns")


def uniform_slice_spacing(planes: Sequence[Plane]) -> str:
    """Return why slices are not evenly spaced, with the first gap and its neighbors, or an empty string."""
    if len(planes) < 2:
        return f"{planes[0].file.path}: expected a stack of slices, but the series has one; fetch the whole series."
    positions_mm, usual_mm = along_mm(planes), usual_gap_mm(planes)
    gaps_mm = np.diff(positions_mm)
    odd = np.flatnonzero(~(np.abs(gaps_mm - usual_mm) <= GAP_TOLERANCE * usual_mm))
    if not len(odd):
        return _drifting(planes, positions_mm)
    before, after = planes[odd[0]], planes[odd[0] + 1]
    missing = missing_slices(planes)
    advice = (
        "resample the series to an even stack"
        if missing is None
        else f"fetch the {missing.sum()} missing slice(s), or allow `fill_gaps: {missing.sum()}`"
    )
    return (
        f"{before.file.path.parent}: expected a slice every {usual_mm:.2f} mm, but {gaps_mm[odd[0]]:.2f} mm lie "
        f"between {before.name} at {positions_mm[odd[0]]:.2f} mm and {after.name} at {positions_mm[odd[0] + 1]:.2f} mm"
        f"; {advice}."
    )


Check = Callable[[Sequence[Plane]], str]
CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        single_orientation,
        consistent_image_dimensions,
        consistent_pixel_spacing,
        orthogonal_orientation,
        unique_slice_positions,
        consistent_in_plane_row,
        consistent_in_plane_col,
        uniform_slice_spacing,
    )
}


def _differing(planes: Sequence[Plane], noun: str, value: Callable[[Plane], np.ndarray], tolerance: float) -> str:
    values = np.array([value(plane) for plane in planes])
    middle = np.median(values.reshape(len(planes), -1), axis=0).reshape(values.shape[1:])
    usual = int(np.abs(values - middle).reshape(len(planes), -1).max(axis=1).argmin())
    off = np.abs(values - values[usual]).reshape(len(planes), -1).max(axis=1)
    if off.max() <= tolerance:
        return ""
    other = planes[int(off.argmax())]
    return (
        f"{other.file.path}: expected {noun} in a series, got {value(other).tolist()} beside {values[usual].tolist()} "
        f"in {planes[usual].name}; move the files that do not belong to the stack elsewhere."
    )


def _shifting(planes: Sequence[Plane], axis: int, axis_name: str) -> str:
    """Return why slices shift along an axis: a linear shift is gantry tilt, any other a displaced slice."""
    shift_mm = np.array([plane.position_mm for plane in planes]) @ planes[0].cosines[axis]
    if np.ptp(shift_mm) < IN_PLANE_TOLERANCE_MM:
        return ""
    positions_mm = along_mm(planes) - along_mm(planes).mean()
    per_mm = float(positions_mm @ shift_mm / max(positions_mm @ positions_mm, SAME_POSITION_MM**2))
    off_mm = np.abs(shift_mm - np.median(shift_mm))
    if np.ptp(shift_mm - per_mm * positions_mm) < IN_PLANE_TOLERANCE_MM:
        return (
            f"{planes[0].file.path.parent}: expected slices stacked along their normal, but they lean by "
            f"{np.degrees(np.arctan(abs(per_mm))):.2f} degrees along their {axis_name} (gantry tilt); resample the "
            "series to an upright stack."
        )
    return (
        f"{planes[int(off_mm.argmax())].file.path}: expected slices on one line, but this one is {off_mm.max():.2f} mm "
        f"off along its {axis_name}; resample the series to a straight stack."
    )


def _drifting(planes: Sequence[Plane], positions_mm: np.ndarray) -> str:
    """Return why small gap errors accumulate beyond the tolerance, or an empty string."""
    even_mm = np.linspace(positions_mm[0], positions_mm[-1], len(planes))
    off_mm, usual_mm = np.abs(positions_mm - even_mm), (positions_mm[-1] - positions_mm[0]) / (len(planes) - 1)
    if off_mm.max() <= GAP_TOLERANCE * usual_mm:
        return ""
    worst = planes[int(off_mm.argmax())]
    return (
        f"{worst.file.path}: expected slices evenly {usual_mm:.2f} mm apart, but this one is {off_mm.max():.2f} mm off "
        "its place; resample the series to an even stack."
    )
