"""Common parts of the figures drawn from tables: panel grids, captions, legends, and the note of an empty figure."""

import functools
import math
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.figures.looks import PLACE
from diffufuse.report.selection import in_domain_rows, with_own_masks
from diffufuse.report.style import INK, house_style, new_figure

PAGE_IN = 13.0
NARROWEST_IN = 4.4
CAPTION_IN = 0.4
LEGEND_LINE_IN = 0.145
CHARACTERS_PER_INCH = 16
NAME_CHARACTERS_PER_INCH = 17
MODEL = [*PLACE, "model"]
STATISTICS = ["patients", "undefined", "mean", "mean_low", "mean_high"]
INTERVAL = "mean over patients with 95\u00a0% bootstrap interval"
FAINT = "#EEEEEE"
GOLDEN_ANGLE = (math.sqrt(5) - 1) / 2


def clean_summary(evidence: Evidence, metric: str) -> pd.DataFrame:
    """A metric over patients of every model, in-domain under `clean`: the columns of MODEL and STATISTICS."""
    summary = in_domain_rows(evidence.summary)
    chosen = summary[(summary["condition"] == CLEAN) & (summary["metric"] == metric)]
    return chosen[[*MODEL, *STATISTICS]]


def of_masks(table: pd.DataFrame, evidence: Evidence, *metrics: str) -> pd.DataFrame:
    """The rows of metrics of masks, in-domain, without models that use the masks of another."""
    in_domain = in_domain_rows(table)
    return in_domain[in_domain["metric"].isin(metrics) & in_domain["model"].isin(with_own_masks(evidence))]


def drawn(draw: Callable[[pd.DataFrame], Figure]) -> Callable[[pd.DataFrame], Figure]:
    """Decorator: draw in the common style, and draw the note of a table without numbers."""

    @functools.wraps(draw)
    def wrapper(table: pd.DataFrame) -> Figure:
        with house_style():
            return _sentence(str(table["note"].iloc[0])) if "note" in table else draw(table)

    return wrapper


def _sentence(text: str) -> Figure:
    figure = new_figure(6.0, 1.2)
    figure.text(0.5, 0.5, textwrap.fill(text, 80), ha="center", va="center", fontsize=8)
    return figure


def panels(count: int, *, width_in: float, height_in: float, margin_in: float = 0.0) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels, wrapped to the page width.

    Args:
        count: number of panels.
        width_in: of a panel with its labels.
        height_in: of a panel with its labels.
        margin_in: additional width of a row.
    """
    rows, across = wrapped(count, width_in, margin_in=margin_in)
    figure, grid = lines(rows, across, width_in=width_in, height_in=height_in, margin_in=margin_in)
    places = [axes for row in grid for axes in row]
    for axes in places[count:]:
        axes.set_axis_off()
    return figure, places[:count]


def lines(
    count: int, across: int, *, width_in: float, height_in: float, margin_in: float = 0.0, **grid: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a grid of panels, as a list of rows.

    Args:
        count: number of rows.
        across: number of panels per row.
        width_in: of a panel with its labels.
        height_in: of a panel with its labels.
        margin_in: additional width of a row.
        grid: passed on to `Figure.subplots`.
    """
    figure = new_figure(max(NARROWEST_IN, margin_in + width_in * across), CAPTION_IN + height_in * count)
    return figure, figure.subplots(count, across, squeeze=False, **grid).tolist()


def wrapped(count: int, width_in: float, *, margin_in: float = 0.0) -> tuple[int, int]:
    """Number of rows, and of panels per row, for `count` panels on a page, filled evenly."""
    rows = math.ceil(count / max(1, int((PAGE_IN - margin_in) / width_in)))
    return rows, math.ceil(count / rows)


def place_of(table: pd.DataFrame) -> str:
    """Region and dataset of a panel, as text."""
    first = table.iloc[0]
    return f"{first['region']}, {first['dataset']}"


def fold(name: str, characters: int = 22) -> str:
    """Break a long name into lines after underscores and hyphens."""
    lines = [""]
    for part in name.replace("_", "_\0").replace("-", "-\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(part) > characters:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def room_for(names: Iterable[str]) -> float:
    """Width in inches of the longest name next to an axis."""
    return max(map(len, names), default=0) / NAME_CHARACTERS_PER_INCH


def caption(figure: Figure, *facts: str) -> None:
    """Write a caption below the figure, wrapped to its width."""
    text = "; ".join(fact for fact in facts if fact)
    characters = int(CHARACTERS_PER_INCH * figure.get_figwidth())
    figure.supxlabel(textwrap.fill(text, characters), fontsize=7, color=INK)


def number_of(counts: Iterable[float], noun: str = "patients") -> str:
    """`n = 5 patients`, or a range."""
    defined = [int(count) for count in counts if not math.isnan(count)]
    if not defined:
        return ""
    low, high = min(defined), max(defined)
    return f"n = {low if low == high else f'{low} to {high}'} {noun}"


def left_out(table: pd.DataFrame) -> str:
    """Note on patients without a value, if any were left out."""
    largest = table["undefined"].max()
    return f"up to {largest:.0f} of them without a value are left out" if largest > 0 else ""


def legend(figure: Figure, axes: Axes, where: Literal["below", "right"], **settings: Any) -> None:
    """A legend outside of a panel, below its axis or to its right."""
    below = where == "below"
    right_in, up_in = (0.0, -0.42) if below else (0.1, 0.0)
    shift = ScaledTranslation(right_in, up_in, figure.dpi_scale_trans)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, 0) if below else (1, 1),
        bbox_transform=axes.transAxes + shift,
        **{"frameon": False, "fontsize": 6.5, "borderaxespad": 0, "handlelength": 3.2, **settings},
    )


def with_legend(height_in: float, panels: list[pd.DataFrame], *, lines: int) -> float:
    """Height of a panel with a legend below it, with `lines` lines per model, for the longest legend."""
    return height_in + LEGEND_LINE_IN * lines * max(part["model"].nunique() for part in panels)


def intervals(rows: pd.DataFrame) -> np.ndarray:
    """(2, n) lower and upper length of the error bars of means; NaN if undefined."""
    return np.stack([rows["mean"] - rows["mean_low"], rows["mean_high"] - rows["mean"]]).clip(min=0)


def spread(count: int, half_width: float) -> np.ndarray:
    """(count,) deterministic jitter: a low-discrepancy sequence instead of random numbers."""
    return half_width * (2 * (np.arange(1, count + 1) * GOLDEN_ANGLE % 1) - 1)


def beside(names: Iterable[str], half_width: float) -> dict[str, float]:
    """Name → shift, so that several markers at one position do not overlap."""
    unique_names = list(dict.fromkeys(names))
    shifts = np.linspace(-half_width, half_width, len(unique_names)) if len(unique_names) > 1 else np.zeros(1)
    return dict(zip(unique_names, shifts.tolist(), strict=True))


def unit_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """An axis of a ratio from 0 to 1 with margins, and a grid."""
    (axes.set_xlim if which == "x" else axes.set_ylim)(-0.02, 1.02)
    quiet_grid(axes, which)


def quiet_grid(axes: Axes, which: Literal["x", "y", "both"]) -> None:
    """A faint grid in the background."""
    axes.grid(axis=which, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
