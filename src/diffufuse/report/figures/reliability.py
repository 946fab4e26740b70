"""Reliability diagrams: observed frequency by predicted probability."""

import math
from collections.abc import Hashable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from diffufuse.metrics.calibration import BINS, ece, equal_width
from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.figures.forecasts import NEAR, NOTHING, forecasts, tested
from diffufuse.report.style import INK, MEDIUM

SCOPES = ("near", "body")
SMALLEST_POINTS2, LARGEST_POINTS2 = 2.0, 60.0
WIDTH_IN, HEIGHTS_IN = 2.15, (2.2, 0.75)


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: the bins of each model's forecast near the region and in the body, pooled over patients.

    Returns:
        Columns dataset, region, model, scope, mean_probability (mean probability of a bin), true (share in the
        region), voxels, ece, tested (patients), group, member. A model follows the one whose probabilities it scales.
        A one-row note if there are no forecasts.
    """
    rows = [
        pd.DataFrame(names | equal_width(forecast)._asdict() | {"ece": ece(forecast)})
        for names, forecast in forecasts(evidence, *SCOPES)
    ]
    if not rows:
        return cells.sentence(NOTHING)
    table = looks.grouped(pd.concat(rows, ignore_index=True).merge(tested(evidence), on=parts.MODEL), evidence)
    order = _neighbors(evidence, list(dict.fromkeys(table["model"])))
    return table.sort_values("model", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def _neighbors(evidence: Evidence, models: list[str]) -> list[str]:
    scales = {model: evidence.models[model].get("predictions_of") for model in models}
    own = [model for model in models if scales[model] not in models]
    return [neighbor for model in own for neighbor in (model, *(other for other in models if scales[other] == model))]


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw a diagram per model and region, above the share of voxels in each bin.

    Args:
        table: from `data`.
    """
    places = [place for _, place in table.groupby(looks.PLACE, sort=False)]
    panels = [rows for place in places for _, rows in place.groupby("model", sort=False)]
    lines, across = parts.wrapped(len(panels), WIDTH_IN)
    sizes: dict[str, Any] = {"height_in": sum(HEIGHTS_IN) / 2, "height_ratios": HEIGHTS_IN * lines}
    figure, grid = parts.lines(2 * lines, across, width_in=WIDTH_IN, **sizes)
    diagrams, strips = ([axes for row in grid[first::2] for axes in row] for first in (0, 1))
    for axes in (*diagrams[len(panels) :], *strips[len(panels) :]):
        axes.set_axis_off()
    for number, rows in enumerate(panels):
        _draw_diagram(diagrams[number], rows)
        _draw_strip(strips[number], rows)
        if number % across == 0:
            diagrams[number].set_ylabel("Share in the region")
            strips[number].set_ylabel("Voxels (share)")
    scopes = f"solid: near, {NEAR}; dashed: all voxels of the body"
    bins = f"{BINS} bins of equal width; the area of a dot grows with its voxels; ECE of all voxels together"
    parts.caption(figure, parts.number_of(table["tested"]), scopes, bins)
    return figure


def _draw_diagram(axes: Axes, rows: pd.DataFrame) -> None:
    ((model, _, look),) = looks.models_of(rows)
    axes.plot([0, 1], [0, 1], color=MEDIUM, linestyle=":", linewidth=0.8)
    for number, (scope, bins) in enumerate(rows.groupby("scope", sort=False)):
        color = _color(scope, look)
        axes.plot(bins["mean_probability"], bins["true"], **color, linewidth=1.0)
        area = LARGEST_POINTS2 * bins["voxels"] / bins["voxels"].max()
        face = look.color if scope == SCOPES[0] else "white"
        edge = {"edgecolor": color["color"], "linewidth": 0.6}
        axes.scatter(bins["mean_probability"], bins["true"], area.clip(lower=SMALLEST_POINTS2), face, zorder=3, **edge)
        text = f"ECE {scope} {cells.fixed(bins['ece'].iloc[0], 3)}"
        axes.text(0.03, 0.97 - 0.09 * number, text, transform=axes.transAxes, fontsize=6.5, va="top")
    axes.set_title(f"{parts.fold(model)}\n{parts.place_of(rows)}", fontsize=7)
    axes.tick_params(labelbottom=False)
    for axis in ("x", "y"):
        parts.unit_axis(axes, axis)


def _draw_strip(axes: Axes, rows: pd.DataFrame) -> None:
    ((_, _, look),) = looks.models_of(rows)
    share = rows["voxels"] / rows.groupby("scope")["voxels"].transform("sum")
    for scope, bins in rows.groupby("scope", sort=False):
        axes.plot(
            bins["mean_probability"], share[bins.index], drawstyle="steps-mid", **_color(scope, look), linewidth=1.0
        )
    axes.set_yscale("log")
    axes.set_ylim(10.0 ** min(-2, math.floor(math.log10(share.min()))), 1)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Probability")


def _color(scope: Hashable, look: looks.Look) -> dict[str, Any]:
    return {"color": look.color, "linestyle": "-"} if scope == SCOPES[0] else {"color": INK, "linestyle": "--"}
