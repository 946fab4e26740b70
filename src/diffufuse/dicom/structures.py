"""Read regions of interest of a structure set or DICOM segmentation as masks on an image's grid."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, cast

import numpy as np

from diffufuse.dicom.elements import refusing
from diffufuse.dicom.image_planes import ImagePlanes
from diffufuse.dicom.rasterizing import drawn_ml, fill, place
from diffufuse.dicom.region_names import matching_names
from diffufuse.dicom.rtstruct import (
    KIND,
    Contours,
    contours_of,
    require_area,
    require_own_numbers,
    require_whole,
    rois_of,
)
from diffufuse.dicom.series import Series, headers_of
from diffufuse.dicom.vocabulary import modality_code
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
            number of `contours` or `frames`, `skipped` contours by type, ...; `rois`, the number of regions, for
            labels that may join several, whose `drawn_ml` counts twice what two of them share; and
            `rois_left_over`, the number of unused regions in the file. Labels replace the regions' names, which may
            name a person.
    """

    masks: dict[str, Mask]
    facts: dict[str, Any]


def read_masks(
    series: Series,
    patterns: Mapping[str, str | Mapping[str, str]],
    grid: Volume,
    *,
    frame_of_reference: str | None,
    optional: Collection[str] = (),
    images: ImagePlanes | None = None,
) -> Masks:
    """Read regions of interest onto the grid of the image that they were drawn on.

    Args:
        series: of modality RTSTRUCT or SEG, one file.
        patterns: label to the regular expression that matches one ROI name or segment label, searched ignoring case;
            `^GTV$` is exact. `{pattern: ..., several: union}` in its place may match several, which are united.
        grid: the image.
        frame_of_reference: FrameOfReferenceUID of the image; None if unknown, which is accepted with a warning.
        optional: labels that a file may lack.
        images: the single images of the grid, to check what contours say of them; None to skip the check.

    Returns:
        The masks and their facts.

    Raises:
        BadInput: the file is of another modality or damaged, a required label is absent or empty, a pattern matches
            several regions or two patterns one, or a region does not belong to this grid.
    """
    if len(series.files) != 1:
        raise BadInput(
            f"{series.files[0].parent}: expected one file in a {modality_code(series.modality)} series, got "
            f"{len(series.files)}; choose one."
        )
    request = _Request(series, patterns, grid, frame_of_reference, optional, images)
    if series.modality == "RTSTRUCT":
        return _from_contours(request)
    if series.modality == "SEG":
        return _from_segments(request)
    raise BadInput(
        f"{request.path}: expected modality RTSTRUCT or SEG, got {modality_code(series.modality)}; choose another "
        "series."
    )


def painted(
    masks: Mapping[str, Mask], values: Mapping[str, int], grid: Volume, path: Path, *, optional: Collection[str] = ()
) -> Volume:
    """Return the masks as one volume of labels, uint8; later ones lie on earlier ones.

    Args:
        masks: label to mask on the grid, in painting order.
        values: label to number.
        grid: of the masks.
        path: the file or folder, for messages.
        optional: labels that a case may lack.

    Raises:
        BadInput: nothing is left of a label that is not optional; of an optional one it is logged.
    """
    labels = np.zeros(grid.shape, np.uint8)
    for label, mask in masks.items():
        labels[mask] = values[label]
    hidden = [label for label in masks if not (labels == values[label]).any()]
    if not set(hidden) <= set(optional):
        raise BadInput(
            f"{path}: expected voxels of every label, but later ones lie on all of {', '.join(hidden)}; change the "
            "order of the block's rois."
        )
    if hidden:
        log.warning("%s: later labels lie on all of %s, which is optional", path, ", ".join(hidden))
    return grid.with_array(labels)


@dataclass(frozen=True)
class _Request:
    series: Series
    patterns: Mapping[str, str | Mapping[str, str]]
    grid: Volume
    frame_of_reference: str | None
    optional: Collection[str]
    images: ImagePlanes | None

    @property
    def path(self) -> Path:
        return self.series.files[0]

    def chosen(self, names: list[str]) -> dict[str, tuple[int, ...]]:
        """Return label to the indices of its regions in the file; none where an optional one is absent."""
        indices = {
            label: matching_names(
                names,
                asked if isinstance(asked, str) else asked["pattern"],
                self.path,
                optional=label in self.optional,
                several=self.joins(label),
            )
            for label, asked in self.patterns.items()
        }
        used = [index for several in indices.values() for index in several]
        if len(set(used)) < len(used):
            raise BadInput(
                f"{self.path}: expected one ROI for each label of {sorted(indices)}, but two labels' patterns match "
                "the same; change the patterns."
            )
        return indices

    def joins(self, label: str) -> bool:
        """Return whether several regions may be this label."""
        return not isinstance(self.patterns[label], str)

    def mask_ml(self, mask: Mask) -> float:
        return self.grid.milliliters(np.count_nonzero(mask))


@dataclass(frozen=True)
class _Region:
    """One region of the file.

    Attributes:
        mask: (X, Y, Z); None if nothing is drawn.
        facts: what `Masks` records of it.
        refusal: why it cannot stand for a label alone; None if it has a mask.
    """

    mask: Mask | None
    facts: Mapping[str, Any]
    refusal: BadInput | None = None


def _masks(request: _Request, names: list[str], region_of: Callable[[int], _Region]) -> Masks:
    """Return the mask of each label, united from its regions; one of several may be empty."""
    masks, facts, chosen = {}, {}, request.chosen(names)
    for label, indices in chosen.items():
        if not indices:
            log.warning("%s: none of %d ROIs is the optional label %s.", request.path, len(names), label)
        regions = [region_of(index) for index in indices]
        drawn = [region.mask for region in regions if region.mask is not None]
        if drawn:
            masks[label] = reduce(np.logical_or, drawn)
        elif regions and label not in request.optional:
            raise cast(BadInput, regions[0].refusal)
        if regions:
            joined = {"rois": len(regions), "empty_rois": len(regions) - len(drawn)} if request.joins(label) else {}
            mask_ml = request.mask_ml(masks[label]) if drawn else 0.0
            facts[label] = _joined_facts([region.facts for region in regions]) | {"mask_ml": mask_ml} | joined
    return Masks(masks, facts | {"rois_left_over": len(names) - sum(map(len, chosen.values()))})


def _joined_facts(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sum of each fact, by type of contour where there are several, and the largest `off_slices`."""
    joined = {name: [one[name] for one in facts] for name in facts[0]}
    skipped = sum((Counter(one) for one in joined.pop("skipped")), Counter[str]())
    largest = {name: max(joined.pop(name)) for name in ("off_slices",) if name in joined}
    return {name: sum(values) for name, values in joined.items()} | largest | {"skipped": dict(skipped)}


def _from_contours(request: _Request) -> Masks:
    with refusing(request.path, KIND):
        structures = headers_of(request.series)[0]
        require_whole(structures, request.path)
        require_own_numbers(structures, request.path)
        names = rois_of(structures)

    def region_of(index: int) -> _Region:
        contours = contours_of(structures, index, path=request.path, images=request.images)
        return _rasterized(contours, request)

    return _masks(request, names, region_of)


def _rasterized(contours: Contours, request: _Request) -> _Region:
    of_file = {"contours": len(contours.polygons), "skipped": contours.skipped, "unreferenced": contours.unreferenced}
    try:
        require_area(contours)
    except BadInput as refusal:
        nothing = {"drawn_ml": 0.0, "repeated": 0, "without_voxel": 0, "left_out": 0, "off_slices": 0.0}
        return _Region(None, of_file | nothing, refusal)
    placed = place(contours, request.grid, frame_of_reference=request.frame_of_reference)
    filled, drawn = fill(placed, request.grid), drawn_ml(placed, request.grid)
    if not filled.mask.any():
        raise BadInput(
            f"{contours.name}: expected contours around at least one voxel center, got none; choose a finer image."
        )
    log.info("%s: %.2f ml drawn, %.2f ml in the mask.", contours.name, drawn, request.mask_ml(filled.mask))
    of_grid = {
        "drawn_ml": drawn,
        "repeated": placed.repeated,
        "without_voxel": filled.without_voxel,
        "left_out": filled.left_out,
        "off_slices": round(placed.off_slices, 3),
    }
    return _Region(filled.mask, of_file | of_grid)


def _from_segments(request: _Request) -> Masks:
    # Few files are segmentations, and their library takes longer to load than a structure set to read.
    from diffufuse.dicom.seg import open_segments

    segments = open_segments(request.path, frame_of_reference=request.frame_of_reference)

    def region_of(index: int) -> _Region:
        mask, frames, left_out = segments.mask_of(index, request.grid)
        facts = {"drawn_ml": request.mask_ml(mask), "frames": frames, "left_out": left_out, "skipped": {}}
        if mask.any():
            return _Region(mask, facts)
        name = segments.name_of(index)
        return _Region(None, facts, BadInput(f"{name}: expected voxels in it, got none; choose another segment."))

    return _masks(request, segments.labels, region_of)
