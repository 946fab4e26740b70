"""Fused images of every model side by side: the whole slice, an enlarged part, and the difference to the mean."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy import ndimage

from diffufuse.metrics.fusion.catalogue import FUSION_METRICS
from diffufuse.metrics.fusion.images import SMALLEST_SIDE, Fusion
from diffufuse.metrics.fusion.where import where_both
from diffufuse.pixels.orientation import as_picture
from diffufuse.report.figures.parts import fold
from diffufuse.report.pictures.condition import DIVERGING
from diffufuse.report.pictures.fused_case import FusedCase, fused_case
from diffufuse.report.pictures.inputs import Inputs
from diffufuse.report.pictures.panels import draw_contour, draw_orientation
from diffufuse.report.style import PALETTE, house_style, new_figure

PANEL_IN = 1.45
MOST_ACROSS = 8
LONGEST_LINE = 22
SCORED = ("qabf", "vif")
REGION, BOX = PALETTE[4], PALETTE[1]
SMALLEST_SHARE, LARGEST_SHARE = 0.22, 0.5
AROUND_REGION = 1.6
DIFFERENCE_PERCENTILE = 99.5
LEAST_REACH = 0.02
ROWS = ("slice", "enlarged", "minus the mean")
COLORED = "with color"

Box = tuple[float, float, float]


def draw(shown: FusedCase, *, title: str) -> Figure:
    """Draw both sources and every fused image in gray levels of 0..1: whole, enlarged, and minus the mean of both.

    The differences have one signed scale: red is brighter than the mean, blue darker. Colors, if any, are a row of
    their own. Models beyond the width of a page continue in a further band, below, which begins with the sources again.

    Args:
        shown: the case.
        title: of the figure.
    """
    bands = bands_of(list(shown.sources), list(shown.fused))
    rows = [*ROWS, *([COLORED] if shown.colored else [])]
    box = box_of(shown)
    heights = [shown.view.size_mm[1] / shown.view.size_mm[0] if row != ROWS[1] else 1.0 for row in rows]
    band_in = PANEL_IN * sum(heights) + 0.35
    across = max(map(len, bands))
    with house_style():
        figure = new_figure(1.0 + PANEL_IN * across, 0.45 + band_in * len(bands))
        grid = figure.subplots(
            len(rows) * len(bands), across, squeeze=False, gridspec_kw={"height_ratios": heights * len(bands)}
        )
        reach = reach_of(shown)
        for number, names in enumerate(bands):
            lines = grid[number * len(rows) : (number + 1) * len(rows)]
            for axes in lines[:, len(names) :].ravel():
                axes.set_axis_off()
            for place, name in enumerate(names):
                _draw_column(dict(zip(rows, lines[:, place], strict=True)), shown, name, box=box, reach=reach)
            for row, axes in zip(rows, lines[:, 0], strict=True):
                axes.annotate(
                    row, (0, 0.5), (-5, 0), "axes fraction", "offset points", ha="right", va="center", rotation=90
                )
        _draw_scale(grid, rows, len(bands), reach)
        if shown.region.any():
            draw_orientation(grid[0, 0], shown.view)
        figure.suptitle(title, fontsize=9, fontweight="bold")
    return figure


def bands_of(sources: Sequence[str], models: Sequence[str]) -> list[list[str]]:
    """The columns of each band: the sources, and models as evenly as they go, at most so many across."""
    count = math.ceil(len(models) / (MOST_ACROSS - len(sources))) or 1
    most = math.ceil(len(models) / count) or 1
    firsts = range(0, max(len(models), 1), most)
    return [[*sources, *models[first : first + most]] for first in firsts]


def scores_of(shown: FusedCase, name: str) -> dict[str, float]:
    """What the shown slice of a fused image scores, as in `evaluate.fused`.

    Returns:
        Name to value; none where the two sources share too little, or the metric is undefined.
    """
    if not shown.both.any():
        return {}
    planes = where_both([*shown.sources.values(), shown.fused[name]], shown.both)
    if min(planes[0].shape) < SMALLEST_SIDE:
        return {}
    images = Fusion(*(as_picture(plane) for plane in planes))
    found = {metric: FUSION_METRICS[metric].of(images) for metric in SCORED}
    return {metric: value for metric, value in found.items() if not math.isnan(value)}


def box_of(shown: FusedCase) -> Box:
    """The square to enlarge, left, bottom and side in the unit of the view.

    It surrounds the region. Without a region, or with one that fills half of the view, it is a square with the most
    gradient of the weaker source, where both have something to say; at the region's margin, if there is a region.
    """
    sizes = np.array(shown.view.size_mm)
    step, region = np.array(shown.spacing), shown.cut(shown.region)
    smallest, largest = SMALLEST_SHARE * sizes.min(), LARGEST_SHARE * sizes.min()
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    ends = [(columns, step[0]), (rows, step[1])] if region.any() else []
    wanted = AROUND_REGION * max(((found[-1] - found[0] + 1) * mm for found, mm in ends), default=math.inf)
    if wanted <= largest:
        side = max(float(wanted), smallest)
        center = np.array([(found[0] + found[-1] + 1) / 2 * mm for found, mm in ends])
    else:
        side = largest if region.any() else smallest
        center = _most_edges(shown, region, side) * step
    corner = np.clip(center - side / 2, 0, sizes - side)
    return float(corner[0]), float(corner[1]), float(side)


def _most_edges(shown: FusedCase, region: np.ndarray, side: float) -> np.ndarray:
    """The pixel, x and y, around which a square has the most gradient of the weaker source; at a region's margin."""
    edges = [ndimage.gaussian_gradient_magnitude(shown.cut(plane), 1.0) for plane in shown.sources.values()]
    size = [max(1, round(side / mm)) for mm in reversed(shown.spacing)]
    density = ndimage.uniform_filter(np.minimum.reduce(edges), size)
    margin = region & ~ndimage.binary_erosion(region)
    row, column = np.unravel_index(int(np.where(margin | ~margin.any(), density, -1).argmax()), density.shape)
    return np.array([column, row]) + 0.5


def reach_of(shown: FusedCase) -> float:
    """Upper end of the common scale of the differences: a high percentile, at least a fiftieth of white."""
    values = [np.abs(image - shown.mean)[shown.present] for image in shown.fused.values()]
    joined = np.concatenate([*values, np.zeros(1)])
    return max(LEAST_REACH, float(np.percentile(joined, DIFFERENCE_PERCENTILE)))


def _draw_column(lines: Mapping[str, Axes], shown: FusedCase, name: str, *, box: Box, reach: float) -> None:
    image = shown.fused[name] if name in shown.fused else shown.sources[name]
    left, bottom, side = box
    whole, enlarged, difference = (lines[row] for row in ROWS)
    for axes in (whole, enlarged):
        _show(axes, shown, image, cmap="gray", vmin=0, vmax=1)
        draw_contour(axes, shown.region[..., None], _flat(shown), color=REGION, width_pt=0.6)
    whole.add_patch(Rectangle((left, bottom), side, side, fill=False, edgecolor=BOX, linewidth=0.9))
    enlarged.set(xlim=(left + side, left), ylim=(bottom, bottom + side))
    whole.set_title(fold(name, LONGEST_LINE), fontsize=7, fontweight="normal" if name in shown.fused else "bold")
    if name in shown.fused:
        told = ", ".join(f"{metric} {value:.3f}" for metric, value in scores_of(shown, name).items())
        enlarged.set_title(told, fontsize=6, fontweight="normal", pad=2)
        _show(difference, shown, image - shown.mean, cmap=DIVERGING, vmin=-reach, vmax=reach)
        if not np.abs(image - shown.mean)[shown.present].max(initial=0.0) > 1 / 255:
            difference.text(0.5, 0.06, "no difference", transform=difference.transAxes, ha="center", fontsize=7)
    else:
        difference.set_axis_off()
    if COLORED in lines:
        if name in shown.colored:
            picture = shown.colored[name][::-1, ::-1].transpose(1, 0, 2)
            _show(lines[COLORED], shown, picture)
        else:
            lines[COLORED].set_axis_off()


def _flat(shown: FusedCase) -> Any:
    """The view of a volume of the shown slice alone."""
    return type(shown.view)(0, shown.view.box, shown.view.size_mm)


def _show(axes: Axes, shown: FusedCase, plane: np.ndarray, **colors: Any) -> None:
    width, height = shown.view.size_mm
    cut = plane[shown.view.box].swapaxes(0, 1)
    axes.imshow(cut, origin="lower", extent=(0, width, 0, height), interpolation="nearest", **colors)
    axes.set(xlim=(width, 0), ylim=(0, height), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _draw_scale(grid: np.ndarray, rows: Sequence[str], bands: int, reach: float) -> None:
    for band in range(bands):
        line = grid[band * len(rows) + rows.index(ROWS[2])]
        images = [axes.images[0] for axes in line if axes.images]
        if images:
            bar = line[0].figure.colorbar(images[0], ax=list(line), fraction=0.03, pad=0.01, aspect=14)
            bar.set_label("of 0..1", fontsize=6)
            bar.set_ticks([-reach, 0, reach], labels=[f"-{reach:.2g}", "0", f"+{reach:.2g}"], fontsize=6)
            bar.outline.set_visible(False)


def picture(
    inputs: Inputs,
    *,
    dataset: str,
    modalities: Mapping[str, Mapping[str, Any]],
    sources: Mapping[str, Mapping[str, Any]],
    case: str,
    models: Sequence[str],
    regions: Mapping[str, list[int]],
) -> Figure:
    """The fused images of a case under `clean`, on the slice with the most of its first region.

    Args:
        inputs: the case, alone or among others of its set; and a folder of predictions for each model.
        dataset: for the title.
        modalities: not used.
        sources: those that were fused, the structure first: name to block, `normalization` to gray levels is read.
        case: its name.
        models: those that fuse, in the order of the folders.
        regions: region to the label values that it joins; none for pairs.
    """
    shown = fused_case(inputs, case=case, models=models, sources=sources, region=next(iter(regions.values()), []))
    place = f", axial slice {shown.view.level + 1} of {shown.slices}" if shown.slices > 1 else ""
    return draw(shown, title=f"{case}, {dataset}{place}")
