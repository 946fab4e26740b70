"""ROC and precision-recall curves, thinned for a table."""

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
    """The kind of a curve.

    Attributes:
        curve: forecast → threshold, x and y.
        area: forecast → the area under the curve, a metric.
        x: column and label of x.
        y: column and label of y.
        drawstyle: how Matplotlib joins two points, so that the area is that of the metric.
        start: the first y → y at x = 0, the start of the curve.
    """

    curve: Callable[[Forecast], Curve]
    area: Callable[[Forecast], float]
    x: str
    y: str
    drawstyle: Any
    start: Callable[[float], float]


def data(evidence: Evidence, kind: Kind) -> pd.DataFrame:
    """The table of a figure of curves near the region, of the pooled voxels of all patients.

    Returns:
        Columns dataset, region, model, threshold (undefined at the curve's start), x, y, the area under the whole
        curve, prevalence, tested (patients), of the area per patient, if the study reports it, those of
        `parts.STATISTICS`, group and member. A one-row note if there are no forecasts.
    """
    tables = [_rows(names, forecast, kind) for names, forecast in forecasts(evidence, "near")]
    if not tables:
        return cells.sentence(NOTHING)
    table = pd.concat(tables, ignore_index=True).merge(tested(evidence), on=parts.MODEL, how="left")
    summary = parts.clean_summary(evidence, kind.area.__name__)
    return looks.grouped(table.merge(summary, on=parts.MODEL, how="left"), evidence)


def _rows(names: dict[str, str], forecast: Forecast, kind: Kind) -> pd.DataFrame:
    threshold, x, y = kind.curve(forecast)
    threshold, x = (np.concatenate([[first], rest]) for first, rest in ((np.nan, threshold), (0.0, x)))
    y = np.concatenate([[kind.start(y[0])], y])
    selected = thinned(x, y, always=int(np.flatnonzero(threshold >= DECIDED).max(initial=0)))
    points = {"threshold": threshold[selected], kind.x: x[selected], kind.y: y[selected]}
    areas = {kind.area.__name__: kind.area(forecast), "prevalence": prevalence(forecast)}
    return pd.DataFrame({name: names[name] for name in parts.MODEL} | points | areas)


def thinned(x: Float[np.ndarray, " t"], y: Float[np.ndarray, " t"], *, always: int) -> Int[np.ndarray, " kept"]:
    """Thin a curve: points evenly spaced along its length, both ends, and one given point.

    Args:
        x: 0..1.
        y: 0..1.
        always: index of the point to keep.

    Returns:
        At most `POINTS` indices, ascending; only the first of an undefined curve.
    """
    if not np.isfinite([x, y]).all():
        return np.array([0])
    length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    evenly_spaced = np.searchsorted(length, np.linspace(0, length[-1], POINTS - 3)).clip(max=x.size - 1)
    return np.unique([0, always, *evenly_spaced, x.size - 1])


def draw(table: pd.DataFrame, kind: Kind, *, constant: Callable[[Axes, pd.DataFrame], None], meaning: str) -> Figure:
    """Draw the curves, one panel per region and group of models.

    Args:
        table: from `data`.
        kind: as for `data`.
        constant: draws the curve of a constant forecast into a panel.
        meaning: its description, for the caption.
    """
    panels = looks.together(table)
    height_in = parts.with_legend(3.5, panels, lines=2)
    figure, grid = parts.panels(len(panels), width_in=3.4, height_in=height_in)
    for axes, part in zip(grid, panels, strict=True):
        constant(axes, part)
        for model, rows, look in looks.models_of(part):
            line = {"color": look.color, "linestyle": look.line, "linewidth": 1.2}
            axes.plot(rows[kind.x], rows[kind.y], drawstyle=kind.drawstyle, **line)
            decided = rows[rows["threshold"] >= DECIDED].tail(1)
            axes.plot(decided[kind.x], decided[kind.y], **looks.mark(look))
            axes.plot([], [], label=_entry(model, rows, kind), **{**looks.mark(look), **line})
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
