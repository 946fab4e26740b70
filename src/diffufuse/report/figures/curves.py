"""Curves over all thresholds of a probability, thin enough for a table."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.metrics.calibration import prevalence
from diffufuse.metrics.discrimination import Curve
from diffufuse.metrics.forecast import Forecast
from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.figures.forecasts import NEAR, NOTHING, forecasts, tested

POINTS = 400
DECIDED = 0.5


class Kind(NamedTuple):
    """What is drawn.

    Attributes:
        curve: forecast → threshold, x and y.
        area: forecast → the area under the curve; a metric.
        x: column and label of x.
        y: column and label of y.
        drawstyle: how Matplotlib joins two points, so that the area is that of the metric.
        start: the first y → y at x = 0, where the curve begins.
    """

    curve: Callable[[Forecast], Curve]
    area: Callable[[Forecast], float]
    x: str
    y: str
    drawstyle: Any
    start: Callable[[float], float]


def data(evidence: Evidence, kind: Kind) -> pd.DataFrame:
    """The table of a figure of curves near the region, the voxels of all patients together.

    Returns:
        Columns dataset, region, model, threshold (undefined at the curve's beginning), x, y, the area under the whole
        curve, prevalence, tested (patients), of the area for single patients, where the study asked for it, those of
        `parts.STATISTICS`, group and member. One sentence if there are no forecasts.
    """
    found = [_rows(names, forecast, kind) for names, forecast in forecasts(evidence, "near")]
    if not found:
        return cells.sentence(NOTHING)
    table = pd.concat(found, ignore_index=True).merge(tested(evidence), on=parts.MODEL, how="left")
    each = parts.clean_summary(evidence, kind.area.__name__)
    return looks.grouped(table.merge(each, on=parts.MODEL, how="left"), evidence)


def _rows(names: dict[str, str], forecast: Forecast, kind: Kind) -> pd.DataFrame:
    threshold, x, y = kind.curve(forecast)
    threshold, x = (np.concatenate([[first], rest]) for first, rest in ((np.nan, threshold), (0.0, x)))
    y = np.concatenate([[kind.start(y[0])], y])
    kept = thinned(x, y, always=int(np.flatnonzero(threshold >= DECIDED).max(initial=0)))
    points = {"threshold": threshold[kept], kind.x: x[kept], kind.y: y[kept]}
    areas = {kind.area.__name__: kind.area(forecast), "prevalence": prevalence(forecast)}
    return pd.DataFrame({name: names[name] for name in parts.MODEL} | points | areas)


def thinned(x: Float[np.ndarray, " t"], y: Float[np.ndarray, " t"], *, always: int) -> Int[np.ndarray, " kept"]:
    """The points of a curve that are worth drawing: evenly along its length, both ends, and one that must not go.

    Args:
        x: 0..1.
        y: 0..1.
        always: index of the point that must not go.

    Returns:
        At most `POINTS` indices, ascending; of a curve that is undefined the first alone.
    """
    if not np.isfinite([x, y]).all():
        return np.array([0])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    even = np.searchsorted(along, np.linspace(0, along[-1], POINTS - 3)).clip(max=x.size - 1)
    return np.unique([0, always, *even, x.size - 1])


def draw(table: pd.DataFrame, kind: Kind, *, constant: Callable[[Axes, pd.DataFrame], None], meaning: str) -> Figure:
    """Draw the curves, one panel per region and group of models.

    Args:
        table: as returned by `data`.
        kind: the same.
        constant: draws into a panel what a constant forecast would have.
        meaning: what that is, for the caption.
    """
    found = looks.together(table)
    height_in = parts.with_legend(3.5, found, lines=2)
    figure, grid = parts.panels(len(found), width_in=3.4, height_in=height_in)
    for axes, part in zip(grid, found, strict=True):
        constant(axes, part)
        for model, rows, whose in looks.models_of(part):
            line = {"color": whose.color, "linestyle": whose.line, "linewidth": 1.2}
            axes.plot(rows[kind.x], rows[kind.y], drawstyle=kind.drawstyle, **line)
            at = rows[rows["threshold"] >= DECIDED].tail(1)
            axes.plot(at[kind.x], at[kind.y], **looks.mark(whose))
            axes.plot([], [], label=_entry(model, rows, kind), **{**looks.mark(whose), **line})
        axes.set_title(parts.place_of(part))
        axes.set_xlabel(kind.x.replace("_", " ").capitalize())
        axes.set_ylabel(kind.y.replace("_", " ").capitalize())
        parts.unit_axis(axes, "x")
        parts.unit_axis(axes, "y")
        parts.quiet_grid(axes, "both")
        parts.legend(figure, axes, "below")
    marks = f"marks: where the probability is {DECIDED}"
    brackets = "" if table["mean"].isna().all() else f"after the semicolon: {parts.INTERVAL}"
    pooled = f"{NEAR}, of all patients together"
    parts.caption(figure, parts.number_of(table["tested"]), pooled, marks, meaning, brackets)
    return figure


def _entry(model: str, rows: pd.DataFrame, kind: Kind) -> str:
    row, area = rows.iloc[0].to_dict(), kind.area.__name__
    text = f"{model}\n{area.upper()} " + ("undefined" if np.isnan(row[area]) else cells.fixed(row[area], 3))
    if np.isnan(row["patients"]):
        return text
    counts = {name: int(row[name]) for name in ("patients", "undefined")}
    return f"{text}; {cells.mean({**row, **counts, 'unit': '1'})}"
