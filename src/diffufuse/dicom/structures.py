"""Read regions of interest of a structure set or DICOM segmentation as masks on an image's grid."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffufuse.dicom.rasterizing import MM3_PER_ML, drawn_ml, fill, place
from diffufuse.dicom.rtstruct import Contours, contours_of, matching_name, require_area, require_whole, rois_of
from diffufuse.dicom.series import Series, headers_of
from diffufuse.errors import BadInput
from diffufuse.space.volumes import Volume
from diffufuse.types import Mask

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Masks:
    """Regions on one grid.

    Attributes:
        masks: label to mask (X, Y, Z); an optional region that is absent or empty has none.
        facts: label to `drawn_ml`, the volume of the contours or segment, `mask_ml`, the volume of the mask, the
            number of `contours` or `frames`, `skipped` contours by type, ...; and `rois_left_over`, the number of
            unused regions in the file. Labels replace the regions' names, which may name a person.
    """

    masks: dict[str, Mask]
    facts: dict[str, Any]


def read_masks(
    series: Series,
    patterns: Mapping[str, str],
    grid: Volume,
    *,
    frame_of_reference: str | None,
    optional: Collection[str] = (),
    image_uids: Collection[str] | None = None,
) -> Masks:
    """Read regions of interest onto the grid of the image that they were drawn on.

    Args:
        series: of modality RTSTRUCT or SEG, one file.
        patterns: label to the regular expression that matches one ROI name or segment label, searched ignoring case;
            `^GTV$` is exact.
        grid: the image.
        frame_of_reference: FrameOfReferenceUID of the image; None if unknown, which is accepted with a warning.
        optional: labels that a file may lack.
        image_uids: SOPInstanceUIDs of the image, to count contours on other images; None to skip the count.

    Returns:
        The masks and their facts.

    Raises:
        BadInput: the file is of another modality or damaged, a required label is absent or empty, a pattern matches
            several regions or two patterns one, or a region does not belong to this grid.
    """
    if len(series.files) != 1:
        raise BadInput(
            f"{series.files[0].parent}: expected one file in a {series.modality} series, got {len(series.files)}; "
            "choose one."
        )
    request = _Request(series, patterns, grid, frame_of_reference, optional, image_uids)
    if series.modality == "RTSTRUCT":
        return _from_contours(request)
    if series.modality == "SEG":
        return _from_segments(request)
    raise BadInput(f"{request.path}: expected modality RTSTRUCT or SEG, got {series.modality}; choose another series.")


@dataclass(frozen=True)
class _Request:
    series: Series
    patterns: Mapping[str, str]
    grid: Volume
    frame_of_reference: str | None
    optional: Collection[str]
    image_uids: Collection[str] | None

    @property
    def path(self) -> Path:
        return self.series.files[0]

    def chosen(self, names: list[str]) -> dict[str, int | None]:
        """Return label to the index of its region in the file; None where an optional one is absent."""
        indices = {
            label: matching_name(names, pattern, self.path, optional=label in self.optional)
            for label, pattern in self.patterns.items()
        }
        used = [index for index in indices.values() if index is not None]
        if len(set(used)) < len(used):
            raise BadInput(
                f"{self.path}: expected one ROI for each label of {sorted(indices)}, but two labels' patterns match "
                "the same; change the patterns."
            )
        return indices

    def mask_ml(self, mask: Mask) -> float:
        return float(np.count_nonzero(mask) * np.prod(self.grid.spacing_mm) / MM3_PER_ML)


def _from_contours(request: _Request) -> Masks:
    structures = headers_of(request.series)[0]
    require_whole(structures, request.path)
    names = rois_of(structures)
    masks, facts, chosen = {}, {}, request.chosen(names)
    for label, index in chosen.items():
        if index is None:
            continue
        contours = contours_of(structures, index, path=request.path, image_uids=request.image_uids)
        if contours.polygons or label not in request.optional:
            masks[label], facts[label] = _rasterized(contours, request)
        else:
            facts[label] = _facts_of(contours, drawn=0.0, mask=0.0, off_slices=0.0)
    return Masks(masks, facts | {"rois_left_over": len(names) - len(set(chosen.values()) - {None})})


def _rasterized(contours: Contours, request: _Request) -> tuple[Mask, dict[str, Any]]:
    require_area(contours)
    placed = place(contours, request.grid, frame_of_reference=request.frame_of_reference)
    mask = fill(placed, request.grid)
    if not mask.any():
        raise BadInput(
            f"{contours.name}: expected contours around at least one voxel center, got none; choose a finer image."
        )
    facts = _facts_of(
        contours, drawn=drawn_ml(placed, request.grid), mask=request.mask_ml(mask), off_slices=placed.off_slices
    )
    log.info("%s: %.2f ml drawn, %.2f ml in the mask.", contours.name, facts["drawn_ml"], facts["mask_ml"])
    return mask, facts


def _facts_of(contours: Contours, *, drawn: float, mask: float, off_slices: float) -> dict[str, Any]:
    return {
        "drawn_ml": drawn,
        "mask_ml": mask,
        "contours": len(contours.polygons),
        "skipped": dict(contours.skipped),
        "unreferenced": contours.unreferenced,
        "off_slices": round(off_slices, 3),
    }


def _from_segments(request: _Request) -> Masks:
    # Few files are segmentations, and their library takes longer to load than a structure set to read.
    from diffufuse.dicom.seg import open_segments

    segments = open_segments(request.path, frame_of_reference=request.frame_of_reference)
    masks, facts, chosen = {}, {}, request.chosen(segments.labels)
    for label, index in chosen.items():
        if index is None:
            continue
        mask, frames = segments.mask_of(index, request.grid)
        if not mask.any() and label not in request.optional:
            raise BadInput(f"{segments.name_of(index)}: expected voxels in it, got none; choose another segment.")
        if mask.any():
            masks[label] = mask
        volume_ml = request.mask_ml(mask)
        facts[label] = {"drawn_ml": volume_ml, "mask_ml": volume_ml, "frames": frames, "skipped": {}}
    return Masks(masks, facts | {"rois_left_over": len(segments.labels) - len(set(chosen.values()) - {None})})
