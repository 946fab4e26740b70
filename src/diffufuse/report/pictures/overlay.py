"""What a model saw of one case and what it made of it: modalities across, conditions down."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffufuse.report.pictures.panels import (
    UNITS,
    Kind,
    View,
    draw_contour,
    draw_image,
    draw_orientation,
    shown_slice,
    view_of,
    window,
)
from diffufuse.report.style import PALETTE, house_style, new_figure
from diffufuse.space.volumes import Volume
from diffufuse.store.scan import Scan
from diffufuse.types import Mask

REFERENCE, PREDICTION = PALETTE[4], PALETTE[5]
PANEL_IN = 1.9


@dataclass(frozen=True)
class Row:
    """One condition of the case.

    Attributes:
        condition: its name.
        scan: the images as the model met them.
        prediction: (X, Y, Z) boolean.
        dice: of the prediction, 0..1 or NaN.
        hd95_mm: of the prediction, mm or NaN.
    """

    condition: str
    scan: Scan
    prediction: Mask
    dice: float
    hd95_mm: float


def draw(rows: Sequence[Row], reference: Volume, *, case: str, modalities: Mapping[str, Kind]) -> Figure:
    """Draw the axial slice with most reference under every condition, with both contours.

    A modality keeps its gray scale over all conditions, so that a corruption shows as what it is. Where a modality is
    absent or outside its field of view, the panel is hatched. The patient's right is on the left.

    Args:
        rows: one per condition, all on the reference's grid.
        reference: boolean or 0/1, right-anterior-superior.
        case: name of the case.
        modalities: name → kind, in the order of the scans' images.

    Returns:
        A figure with one row per condition, one column per modality.

    Raises:
        ValueError: there is no row, or a row has another number of modalities or another grid.
    """
    _require_consistent(rows, reference, modalities)
    mask = reference.array.astype(bool)
    scans = [row.scan for row in rows]
    view = view_of(scans, shown_slice(mask, [row.prediction for row in rows]), reference.spacing_mm)
    with house_style():
        panel_height_in = PANEL_IN * view.size_mm[1] / view.size_mm[0]
        figure = new_figure(1.0 + PANEL_IN * len(modalities), 0.9 + panel_height_in * len(rows))
        grid = figure.subplots(len(rows), len(modalities), squeeze=False)
        for channel, (modality, kind) in enumerate(modalities.items()):
            limits = window(scans, channel, kind)
            low, high = (f"{limit:.3g}" if kind == "pet" else f"{limit:.0f}" for limit in limits)
            grid[0, channel].set_title(f"{modality}\n{low} to {high} {UNITS[kind]}", fontsize=7, fontweight="normal")
            for axes, row in zip(grid[:, channel], rows, strict=True):
                draw_image(axes, row.scan, channel, view, limits, kind)
                draw_contours(axes, mask, row.prediction, view)
        for axes, row in zip(grid[:, 0], rows, strict=True):
            draw_score(axes, row)
        draw_orientation(grid[0, 0], view)
        draw_legend(figure, f"{case}, axial slice {view.level + 1} of {mask.shape[2]}")
    return figure


def _require_consistent(rows: Sequence[Row], reference: Volume, modalities: Mapping[str, Kind]) -> None:
    if not rows or not modalities:
        raise ValueError("rows, modalities: expected at least one of each")
    for row in rows:
        if row.scan.images.shape != (len(modalities), *reference.shape):
            expected = (len(modalities), *reference.shape)
            raise ValueError(f"rows: expected images of shape {expected}, got {row.scan.images.shape}")
        if row.prediction.shape != reference.shape:
            raise ValueError(f"rows: expected predictions of shape {reference.shape}, got {row.prediction.shape}")


def draw_contours(axes: Axes, reference: Mask, prediction: Mask, view: View) -> None:
    """Outline the reference, and above it the prediction."""
    draw_contour(axes, reference, view, color=REFERENCE, width_pt=1.8)
    draw_contour(axes, prediction, view, color=PREDICTION, width_pt=0.9)


def draw_score(axes: Axes, row: Row) -> None:
    """Write beside a row what it is and what the prediction is worth."""
    dice = "undefined" if math.isnan(row.dice) else f"{row.dice:.3f}"
    hd95 = "undefined" if math.isnan(row.hd95_mm) else f"{row.hd95_mm:.1f} mm"
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right", "fontsize": 7}
    axes.annotate(row.condition, (0, 0.5), (-6, 3), va="bottom", fontweight="bold", **place)
    remark = "" if row.prediction.any() else "\nnothing predicted"
    axes.annotate(f"Dice {dice}\nHD95 {hd95}{remark}", (0, 0.5), (-6, 0), va="top", **place)


def draw_legend(figure: Figure, title: str) -> None:
    """Write above what is shown, and below what the outlines are."""
    figure.suptitle(title, fontsize=8, fontweight="bold")
    lines = [
        Line2D([], [], color=REFERENCE, linewidth=1.8, label="reference"),
        Line2D([], [], color=PREDICTION, linewidth=0.9, label="prediction"),
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=2, frameon=False, fontsize=7)
