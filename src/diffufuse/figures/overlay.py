"""What a model saw of one case and what it made of it: modalities across, conditions down."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from diffufuse.figures.style import PALETTE, house_style, new_figure
from diffufuse.scan import Scan
from diffufuse.types import Mask, Spacing
from diffufuse.volumes import Volume

Kind = Literal["ct", "pet", "mr"]

CT_WINDOW_HU = (-160.0, 240.0)
PET_FLOOR_SUV = 5.0
PET_PERCENTILE = 99.0
MR_PERCENTILES = (1.0, 99.0)
COLORMAPS: dict[Kind, str] = {"ct": "gray", "pet": "gray_r", "mr": "gray"}
UNITS: dict[Kind, str] = {"ct": "HU", "pet": "SUV", "mr": "a.u."}
REFERENCE, PREDICTION = PALETTE[4], PALETTE[5]
PANEL_IN = 1.9
MARGIN_MM = 5.0
BAR_MM = 50.0


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


@dataclass(frozen=True)
class View:
    """The part of the volume that is shown.

    Attributes:
        level: index of the axial slice.
        box: the part of it, along x and y.
        size_mm: width and height of that part.
    """

    level: int
    box: tuple[slice, slice]
    size_mm: tuple[float, float]

    def cut(self, volume: np.ndarray) -> Float[np.ndarray, "y x"]:
        """The shown part of a volume, as rows from posterior to anterior."""
        return volume[self.box[0], self.box[1], self.level].T


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
    view = _view(rows, shown_slice(mask, [row.prediction for row in rows]), reference.spacing_mm)
    with house_style():
        panel_height_in = PANEL_IN * view.size_mm[1] / view.size_mm[0]
        figure = new_figure(1.0 + PANEL_IN * len(modalities), 0.9 + panel_height_in * len(rows))
        grid = figure.subplots(len(rows), len(modalities), squeeze=False)
        for channel, (modality, kind) in enumerate(modalities.items()):
            limits = window(rows, channel, kind)
            low, high = (f"{limit:.3g}" if kind == "pet" else f"{limit:.0f}" for limit in limits)
            grid[0, channel].set_title(f"{modality}\n{low} to {high} {UNITS[kind]}", fontsize=7, fontweight="normal")
            for axes, row in zip(grid[:, channel], rows, strict=True):
                _draw_image(axes, row.scan, channel, view, limits, COLORMAPS[kind])
                _draw_contours(axes, mask, row.prediction, view)
        for axes, row in zip(grid[:, 0], rows, strict=True):
            _draw_score(axes, row)
        _draw_orientation(grid[0, 0], view)
        _draw_legend(figure, f"{case}, axial slice {view.level + 1} of {mask.shape[2]}")
    return figure


def shown_slice(reference: Mask, predictions: Sequence[Mask]) -> int:
    """Index of the axial slice with most reference; without one, with most prediction; without any, the middle."""
    for masks in ([reference], predictions):
        area = np.sum([mask.sum(axis=(0, 1)) for mask in masks], axis=0)
        if area.any():
            return int(area.argmax())
    return reference.shape[2] // 2


def window(rows: Sequence[Row], channel: int, kind: Kind) -> tuple[float, float]:
    """The values shown as the two ends of the gray scale, from the first condition that has the modality.

    Args:
        rows: one per condition.
        channel: index of the modality.
        kind: CT shows -160 to 240 HU; PET 0 to the 99th percentile, at least SUV 5; MR its 1st to 99th percentile.

    Returns:
        Lower and upper end in the image's unit.
    """
    if kind == "ct":
        return CT_WINDOW_HU
    inside = (row.scan.images[channel][row.scan.presence[channel] & row.scan.body] for row in rows)
    values = next((values for values in inside if values.size), np.zeros(1))
    if kind == "pet":
        return 0.0, max(PET_FLOOR_SUV, float(np.percentile(values, PET_PERCENTILE)))
    low, high = np.percentile(values, MR_PERCENTILES)
    return float(low), float(high)


def _require_consistent(rows: Sequence[Row], reference: Volume, modalities: Mapping[str, Kind]) -> None:
    if not rows or not modalities:
        raise ValueError("rows, modalities: expected at least one of each")
    for row in rows:
        if row.scan.images.shape != (len(modalities), *reference.shape):
            expected = (len(modalities), *reference.shape)
            raise ValueError(f"rows: expected images of shape {expected}, got {row.scan.images.shape}")
        if row.prediction.shape != reference.shape:
            raise ValueError(f"rows: expected predictions of shape {reference.shape}, got {row.prediction.shape}")


def _view(rows: Sequence[Row], level: int, spacing_mm: Spacing) -> View:
    body = np.any([row.scan.body[:, :, level] for row in rows], axis=0)
    x, y = (_span(body.any(axis=1 - axis), math.ceil(MARGIN_MM / spacing_mm[axis])) for axis in (0, 1))
    return View(level, (x, y), ((x.stop - x.start) * spacing_mm[0], (y.stop - y.start) * spacing_mm[1]))


def _span(occupied: np.ndarray, margin: int) -> slice:
    where = np.flatnonzero(occupied)
    if not where.size:
        return slice(0, occupied.size)
    return slice(max(0, int(where[0]) - margin), min(occupied.size, int(where[-1]) + margin + 1))


def _draw_image(axes: Axes, scan: Scan, channel: int, view: View, limits: tuple[float, float], colormap: str) -> None:
    present = view.cut(scan.presence[channel])
    shown = np.ma.masked_where(~present, view.cut(scan.images[channel]))
    width, height = view.size_mm
    axes.patch.set(facecolor="#E4E4E4", edgecolor="#B0B0B0", hatch="////")
    axes.imshow(
        shown,
        cmap=colormap,
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        extent=(0, width, 0, height),
        interpolation="nearest",
    )
    axes.set(xlim=(width, 0), ylim=(0, height), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if not present.any():
        note = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        axes.text(0.5, 0.06, "absent", transform=axes.transAxes, ha="center", fontsize=7, bbox=note)


def _draw_contours(axes: Axes, reference: Mask, prediction: Mask, view: View) -> None:
    for mask, color, width_pt in ((reference, REFERENCE, 1.8), (prediction, PREDICTION, 0.9)):
        # a rim of background closes the contour of a mask that reaches the edge
        area = np.pad(view.cut(mask).astype(float), 1)
        if area.any():
            y, x = ((np.arange(n) - 0.5) * mm / (n - 2) for n, mm in zip(area.shape, view.size_mm[::-1], strict=True))
            axes.contour(x, y, area, levels=[0.5], colors=[color], linewidths=width_pt)


def _draw_score(axes: Axes, row: Row) -> None:
    dice = "undefined" if math.isnan(row.dice) else f"{row.dice:.3f}"
    hd95 = "undefined" if math.isnan(row.hd95_mm) else f"{row.hd95_mm:.1f} mm"
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right", "fontsize": 7}
    axes.annotate(row.condition, (0, 0.5), (-6, 3), va="bottom", fontweight="bold", **place)
    remark = "" if row.prediction.any() else "\nnothing predicted"
    axes.annotate(f"Dice {dice}\nHD95 {hd95}{remark}", (0, 0.5), (-6, 0), va="top", **place)


def _draw_orientation(axes: Axes, view: View) -> None:
    halo = [withStroke(linewidth=1.5, foreground="black")]
    width, height = view.size_mm
    for x, side, align in ((0.03, "R", "left"), (0.97, "L", "right")):
        axes.text(x, 0.5, side, transform=axes.transAxes, ha=align, color="white", fontsize=7, path_effects=halo)
    left, bottom = 0.96 * width, 0.05 * height
    axes.plot([left, left - BAR_MM], [bottom, bottom], color="white", linewidth=1.5, path_effects=halo)
    axes.text(left, bottom + 0.02 * height, f"{BAR_MM / 10:g} cm", color="white", fontsize=6, path_effects=halo)


def _draw_legend(figure: Figure, title: str) -> None:
    figure.suptitle(title, fontsize=8, fontweight="bold")
    lines = [
        Line2D([], [], color=REFERENCE, linewidth=1.8, label="reference"),
        Line2D([], [], color=PREDICTION, linewidth=0.9, label="prediction"),
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=2, frameon=False, fontsize=7)
