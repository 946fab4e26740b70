"""What pictures of fusion show of a case: one slice of both sources and of the fused image of every model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from diffufuse.pixels.color import recombined
from diffufuse.pixels.image_file import read_picture
from diffufuse.pixels.orientation import as_picture
from diffufuse.report.pictures.inputs import Inputs
from diffufuse.report.pictures.panels import View, shown_slice, view_of
from diffufuse.report.pictures.rows import reference_of
from diffufuse.store.case import PreparedCase, read_prepared
from diffufuse.store.fused import FUSED, gray_levels
from diffufuse.store.normalization import normalized
from diffufuse.types import Mask

Plane = Float[np.ndarray, "x y"]
COLOR_AXES = 3
Picture = Float[np.ndarray, "rows columns 3"]


@dataclass(frozen=True)
class FusedCase:
    """A slice of a case, its sources and its fused images, all in gray levels of 0..1 and on one grid.

    Attributes:
        case: name of the case.
        sources: modality to (X, Y), the structure first; 0 where absent.
        present: (X, Y) boolean, where any source was acquired.
        both: (X, Y) boolean, where all sources were.
        fused: model to (X, Y).
        region: (X, Y) boolean, the lesion; empty for a pair.
        view: the displayed part, in mm, of a pair in pixels.
        slices: number of slices of the case.
        colored: the picture in color of a source that has colors, and of each model as it was written; empty for gray
            sources.
    """

    case: str
    sources: Mapping[str, Plane]
    present: Mask
    both: Mask
    fused: Mapping[str, Plane]
    region: Mask
    view: View
    slices: int
    colored: Mapping[str, Picture]

    @property
    def mean(self) -> Plane:
        """The mean of the sources, where one is absent that of the other."""
        return self._sum / np.maximum(self._count, 1)

    @property
    def _sum(self) -> Plane:
        return np.sum(list(self.sources.values()), axis=0)

    @property
    def _count(self) -> Plane:
        return self.present.astype(np.float32) + self.both

    @property
    def spacing(self) -> tuple[float, float]:
        """Size of a pixel along x and y, in the unit of the view."""
        box = self.view.box
        width, height = self.view.size_mm
        return width / (box[0].stop - box[0].start), height / (box[1].stop - box[1].start)

    def cut(self, plane: np.ndarray) -> np.ndarray:
        """The displayed part of a plane, as rows from the bottom."""
        return plane[self.view.box].T


def fused_case(
    inputs: Inputs, *, case: str, models: Sequence[str], sources: Mapping[str, Mapping[str, Any]], region: Sequence[int]
) -> FusedCase:
    """Read a case and its fused images, on the slice with the largest area of a region.

    Args:
        inputs: the case, alone or among others of its set; and a folder of predictions for each model.
        case: its name.
        models: in the order of the folders.
        sources: modality to its block, the structure first; `normalization` to gray levels is read.
        region: label values of the lesion; without any, or in a case without it, the middle slice is shown.

    Raises:
        BadInput: a fused image is missing or damaged.
        ValueError: a model has no folder.
    """
    prepared = next(one for one in inputs.cases if one.name == case)
    folders = dict(zip(models, map(Path, inputs.predictions), strict=True))
    records = {model: folder / FUSED / f"{case}.json" for model, folder in folders.items()}
    reference = reference_of(prepared, region)
    level = shown_slice(reference, [])
    scan = normalized(prepared.selected(sources).scan, modalities=sources)
    present: Mask = scan.presence[..., level]
    return FusedCase(
        case,
        dict(zip(sources, scan.images[..., level], strict=True)),
        np.any(present, axis=0),
        np.all(present, axis=0),
        {model: gray_levels(read_prepared(record))[..., level] for model, record in records.items()},
        reference[..., level],
        view_of([scan], level, prepared.spacing_mm),
        reference.shape[2],
        _colored(prepared, folders),
    )


def _colored(case: PreparedCase, folders: Mapping[str, Path]) -> dict[str, Picture]:
    """The sources in color of a pair, and what was written of it; none of a volume or of gray pictures."""
    names = [name.removesuffix("_cb") for name in case.slices.stored if name.endswith("_cb")]
    if not names:
        return {}
    parts = {name: case.slices.selected([name, f"{name}_cb", f"{name}_cr"]).images(0) for name in names}
    colored = {name: recombined(*map(as_picture, planes)) for name, planes in parts.items()}
    written = {model: read_picture(folder / f"{case.name}_fused.png") for model, folder in folders.items()}
    return colored | {model: picture for model, picture in written.items() if picture.ndim == COLOR_AXES}
