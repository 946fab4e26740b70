"""Stack image planes into a volume in physical units, without localizers and with optional gap filling."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from diffufuse.dicom.decoding import DicomFile, is_lossy, padding_values, stored_values
from diffufuse.dicom.elements import text_of
from diffufuse.dicom.geometry import (
    COSINE_TOLERANCE,
    SPACING_TOLERANCE_MM,
    GeometryReport,
    in_order,
    missing_slices,
    orthogonal_orientation,
    report_on,
    uniform_slice_spacing,
)
from diffufuse.dicom.planes import Plane
from diffufuse.dicom.uniform import require_uniform
from diffufuse.errors import BadInput
from diffufuse.space.volumes import Volume, canonical

log = logging.getLogger(__name__)

MOST_LOCALIZERS = 0.25  # of the slices of the stack beside which they lie
LEAST_TURN = 0.5  # radians between a localizer's normal and that of the stack


@dataclass(frozen=True)
class Stack:
    """A series read as a volume.

    Attributes:
        volume: float32, RAS, in the series' own physical unit (HU, Bq/ml, arbitrary for MR).
        facts: metadata without names, dates and UIDs: `slice_spacing_mm` and `obliquity_degrees` always;
            `localizers_left_out`, `slices_filled`, `voxels_padded` (counts) and `lossy_compression` (true) where they
            apply.
    """

    volume: Volume
    facts: dict[str, Any]


def ras_from_lps(points: np.ndarray) -> np.ndarray:
    """Convert DICOM patient coordinates (LPS) to RAS; the conversion is its own inverse.

    Args:
        points: (..., 3), positions or directions, mm.
    """
    return points * np.array([-1.0, -1.0, 1.0])


def stack_of(planes: Sequence[Plane], *, fill_gaps: int = 0) -> Stack:
    """Stack the planes of one series into a volume; they must form a regular stack.

    Args:
        planes: in any order.
        fill_gaps: maximum total number of missing slices to interpolate linearly between their neighbors.

    Raises:
        BadInput: one of the nine checks fails, few slices contradict the others in a tag of the whole stack, or pixels
            cannot be read.
    """
    kept, report = _without_localizers(planes)
    require_uniform(list({plane.file.path: plane.file for plane in kept}.values()))
    missing = _require_regular(kept, report, fill_gaps)
    values, padded = _values(kept)
    facts: dict[str, Any] = {
        "slice_spacing_mm": round(report.slice_spacing_mm, 4),
        "obliquity_degrees": report.obliquity_degrees,
        "localizers_left_out": len(planes) - len(kept),
        "slices_filled": int(missing.sum()),
        "voxels_padded": padded,
        "lossy_compression": any(is_lossy(plane.file) for plane in kept),
    }
    _log_facts(facts, kept)
    volume = canonical(Volume(_with_filled_gaps(values, missing).transpose(2, 1, 0), _affine(kept, int(missing.sum()))))
    geometric = ("slice_spacing_mm", "obliquity_degrees")
    return Stack(volume, {name: value for name, value in facts.items() if value or name in geometric})


def _without_localizers(planes: Sequence[Plane]) -> tuple[list[Plane], GeometryReport]:
    """Return the one regular stack among the planes, sorted, and its report.

    Planes of another orientation, spacing or size are left out only if they are localizers: declared as such, or few
    and rotated against the stack.
    """
    groups = sorted(_alike(planes), key=lambda group: (group[0].is_localizer, -len(group)))
    stack = in_order(groups[0])
    report = report_on(stack)
    if len(groups) == 1:
        return stack, report
    if report.reasons or not all(_is_localizer(group, beside=stack) for group in groups[1:]):
        sizes = ", ".join(str(len(group)) for group in groups)
        whole = report_on(planes)
        raise BadInput(f"{whole.reasons[0].rstrip('.')} (stacks of {sizes} slices share the series).")
    return stack, report


def _alike(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Group planes by orientation, spacing, size and localizer flag."""
    groups: list[list[Plane]] = []
    for plane in planes:
        for group in groups:
            if _matches(plane, group[0]):
                group.append(plane)
                break
        else:
            groups.append([plane])
    return groups


def _matches(plane: Plane, other: Plane) -> bool:
    return (
        plane.shape == other.shape
        and plane.is_localizer == other.is_localizer
        and bool(np.abs(plane.cosines - other.cosines).max() <= COSINE_TOLERANCE)
        and bool(np.abs(plane.spacing_mm - other.spacing_mm).max() <= SPACING_TOLERANCE_MM)
    )


def _is_localizer(group: Sequence[Plane], *, beside: Sequence[Plane]) -> bool:
    if beside[0].is_localizer:
        return False
    if orthogonal_orientation(group):
        return False
    turn = np.arccos(min(abs(float(group[0].normal @ beside[0].normal)), 1.0))
    return group[0].is_localizer or (turn >= LEAST_TURN and len(group) <= MOST_LOCALIZERS * len(beside))


def _require_regular(planes: Sequence[Plane], report: GeometryReport, fill_gaps: int) -> np.ndarray:
    """Return the number of slices to interpolate after each plane but the last, (N - 1,)."""
    if not report.reasons:
        return np.zeros(len(planes) - 1, int)
    missing = missing_slices(planes) if len(planes) > 1 else None
    first = next(name for name, holds in report.verdicts.items() if not holds)
    if missing is None or first != uniform_slice_spacing.__name__ or not 0 < missing.sum() <= fill_gaps:
        raise BadInput(report.reasons[0])
    return missing


def _log_facts(facts: dict[str, Any], planes: Sequence[Plane]) -> None:
    folder = planes[0].file.path.parent
    if facts["localizers_left_out"]:
        log.warning("%s: %d localizers left out beside %d slices.", folder, facts["localizers_left_out"], len(planes))
    if facts["slices_filled"]:
        log.warning("%s: %d missing slices interpolated beside %d.", folder, facts["slices_filled"], len(planes))
    if facts["voxels_padded"]:
        log.info("%s: %d voxels lie outside the scanned field.", folder, facts["voxels_padded"])
    if facts["lossy_compression"]:
        log.warning("%s: the images went through lossy compression.", folder)


def _values(planes: Sequence[Plane]) -> tuple[np.ndarray, int]:
    """Return physical values, (slices, rows, columns), float32, and the number of padding voxels.

    Padding becomes the lowest measured value (air) in CT, and 0 elsewhere.
    """
    values = np.zeros((0, 0, 0), np.float32)
    is_padding: dict[int, np.ndarray] = {}
    for index, plane, stored in _decoded(planes):
        if not values.size:  # not before a file holds as many pixels as it says
            values = np.empty((len(planes), *planes[0].shape), np.float32)
        values[index] = stored if plane.slope is None else stored * np.float64(plane.slope) + plane.intercept
        padding = padding_values(plane.file)
        if padding is not None:
            is_padding[index] = (stored >= padding[0]) & (stored <= padding[1])
    if is_padding:
        _set_padding(values, is_padding, planes[0].file)
    return values, sum(int(marked.sum()) for marked in is_padding.values())


def _decoded(planes: Sequence[Plane]) -> Iterator[tuple[int, Plane, np.ndarray]]:
    """Yield index, plane and stored values; each file is decoded once, whatever the order of its frames."""
    by_file = sorted(range(len(planes)), key=lambda index: (str(planes[index].file.path), index))
    for _, indices in groupby(by_file, key=lambda index: planes[index].file.path):
        members = list(indices)
        frames = stored_values(planes[members[0]].file)
        for index in members:
            yield index, planes[index], frames[planes[index].frame]


def _set_padding(values: np.ndarray, is_padding: Mapping[int, np.ndarray], file: DicomFile) -> None:
    filler = 0.0
    if text_of(file.header, "Modality", file.path) == "CT":
        measured = np.ones(values.shape, bool)
        for index, marked in is_padding.items():
            measured[index] = ~marked
        if not measured.any():
            raise BadInput(f"{file.path.parent}: expected measured values, but all are padding; fetch it again.")
        filler = values[measured].min()
    for index, marked in is_padding.items():
        values[index][marked] = filler


def _with_filled_gaps(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return the slices with the missing ones interpolated linearly between their neighbors."""
    if not missing.any():
        return values
    positions = np.concatenate([[0], np.cumsum(missing + 1)])
    filled = np.empty((positions[-1] + 1, *values.shape[1:]), np.float32)
    filled[positions] = values
    for before, after in pairwise(positions):
        for position in range(before + 1, after):
            share = np.float32((position - before) / (after - before))
            filled[position] = (1 - share) * filled[before] + share * filled[after]
    return filled


def _affine(planes: Sequence[Plane], filled: int) -> np.ndarray:
    """Return the affine from index (column, row, slice) to RAS; PixelSpacing has the row distance first."""
    first, last = planes[0], planes[-1]
    row_mm, column_mm = first.spacing_mm
    step_mm = (last.position_mm - first.position_mm) / (len(planes) - 1 + filled)
    affine = np.eye(4)
    columns = [first.cosines[0] * column_mm, first.cosines[1] * row_mm, step_mm, first.position_mm]
    affine[:3] = ras_from_lps(np.array(columns)).T
    return affine
