"""Overview of a prepared dataset: one row per case, one column per modality, with contours of body and labels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffufuse.report.pictures.inputs import Inputs
from diffufuse.report.pictures.panels import (
    Kind,
    View,
    draw_contour,
    draw_image,
    draw_orientation,
    kinds_of,
    shown_slice,
    view_of,
    window,
)
from diffufuse.report.style import PALETTE, house_style, new_figure
from diffufuse.space.volumes import Volume
from diffufuse.store.case import PreparedCase
from diffufuse.store.scan import Scan

PANEL_IN = 1.35
BODY, LABELS = PALETTE[4], (PALETTE[1], PALETTE[5], PALETTE[2], PALETTE[3], PALETTE[0], PALETTE[6])


@dataclass(frozen=True)
class Shown:
    """One case, in memory.

    Attributes:
        name: of the case.
        scan: its images, presence and body.
        labels: (X, Y, Z) uint8.
        spacing_mm: of the grid.
    """

    name: str
    scan: Scan
    labels: np.ndarray
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, case: PreparedCase) -> "Shown":
        """Read a prepared case into memory."""
        labels = case.slices.labels(slice(None)).transpose(1, 2, 0)
        return cls(case.name, case.scan, labels, Volume(labels, case.affine).spacing_mm)


def draw(cases: Sequence[Shown], *, dataset: str, modalities: Mapping[str, Kind], labels: Mapping[str, int]) -> Figure:
    """Draw the axial slice with the largest label area of every case.

    It reveals images with a wrong orientation, position, unit or mask.

    Args:
        cases: in the order of the rows.
        dataset: name for the title.
        modalities: name → kind, in the order of the scans' images.
        labels: name → value.

    Returns:
        A figure with one row per case and one column per modality.

    Raises:
        ValueError: there is no case.
    """
    if not cases:
        raise ValueError("cases: expected at least one, got none")
    views = [view_of([case.scan], shown_slice(case.labels > 0, []), case.spacing_mm) for case in cases]
    heights = [view.size_mm[1] / view.size_mm[0] for view in views]
    with house_style():
        figure = new_figure(0.8 + PANEL_IN * len(modalities), 0.8 + PANEL_IN * sum(heights))
        grid = figure.subplots(
            len(cases), len(modalities), squeeze=False, gridspec_kw={"height_ratios": heights, "wspace": 0.02}
        )
        for axes, name in zip(grid[0], modalities, strict=True):
            axes.set_title(name)
        for row, case, view in zip(grid, cases, views, strict=True):
            _draw_case(row, case, view, modalities, labels)
        draw_orientation(grid[0, -1], views[0])
        figure.suptitle(f"{dataset}, as prepared", fontsize=9, fontweight="bold")
        lines = [Line2D([], [], color=_color(value), label=name) for name, value in labels.items()]
        lines.append(Line2D([], [], color=BODY, linewidth=0.8, label="body"))
        figure.legend(handles=lines, loc="outside lower center", ncols=min(len(lines), 5), frameon=False, fontsize=7)
    return figure


def _draw_case(
    row: Sequence[Axes], case: Shown, view: View, modalities: Mapping[str, Kind], labels: Mapping[str, int]
) -> None:
    for channel, (axes, kind) in enumerate(zip(row, modalities.values(), strict=True)):
        draw_image(axes, case.scan, channel, view, window([case.scan], channel, kind), kind)
        draw_contour(axes, case.scan.body, view, color=BODY, width_pt=0.5)
        for value in labels.values():
            draw_contour(axes, case.labels == value, view, color=_color(value), width_pt=1.0)
    millimeters = math.prod(case.spacing_mm)
    volumes = "\n".join(
        f"{name} {np.count_nonzero(case.labels == value) * millimeters / 1000:.1f} ml"
        for name, value in list(labels.items())[:4]
    )
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right"}
    row[0].annotate(case.name, (0, 0.5), (-5, 2), va="bottom", fontweight="bold", fontsize=7, **place)
    row[0].annotate(volumes, (0, 0.5), (-5, 0), va="top", fontsize=6, **place)


def _color(value: int) -> str:
    return LABELS[(value - 1) % len(LABELS)]


def picture(
    inputs: Inputs,
    *,
    dataset: str,
    modalities: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, int],
) -> Figure:
    """Prepared cases of a dataset.

    Args:
        inputs: the cases, in the order of the rows.
        dataset: its name.
        modalities: name to its block of `config/datasets.yaml`, in channel order; `kind` is read.
        labels: name to value.
    """
    shown = [Shown.of(case) for case in inputs.cases]
    return draw(shown, dataset=dataset, modalities=kinds_of(modalities), labels=labels)
