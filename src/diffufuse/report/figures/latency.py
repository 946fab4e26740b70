"""Inference latency of models for one slice or volume, every repeat."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.style import INK

NOTHING = "No latencies to draw: the study timed no model."
MACHINE = ["dataset", "device", "threads", "precision", "batch"]
SPREAD = 0.3
LOGARITHMIC = 10.0
ROW_IN = 0.38


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: every repeat, with the model's median and 95th percentile.

    Returns:
        The columns of `LATENCIES`, voxels (of the slice or volume; undefined if unknown), median_ms, p95_ms,
        group, member. A one-row note if no model was timed.
    """
    timed = evidence.latencies
    if timed.empty:
        return cells.sentence(NOTHING)
    key = ["dataset", "model", "device", "threads", "precision"]
    sizes = evidence.efficiency[[*key, "voxels"]].drop_duplicates(key)
    table = timed.merge(sizes, on=key, how="left")
    times = table.groupby([*MACHINE, "model"], sort=False)["milliseconds"]
    return looks.grouped(table.assign(median_ms=times.transform("median"), p95_ms=times.transform(_p95)), evidence)


def _p95(values: pd.Series) -> float:
    return float(np.percentile(values, 95))


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw a box and every repeat per model, one panel per dataset and machine.

    Args:
        table: from `data`.
    """
    panels = list(table.groupby(MACHINE, sort=False))
    name_width_in = parts.room_for(table["model"])
    most_models = max(rows["model"].nunique() for _, rows in panels)
    figure, grid = parts.lines(
        len(panels), 1, width_in=4.4, height_in=0.8 + ROW_IN * most_models, margin_in=0.9 + name_width_in
    )
    for (axes,), (key, rows) in zip(grid, panels, strict=True):
        _draw_panel(axes, rows)
        machine = dict(zip(MACHINE, key, strict=True))
        threads = f"{machine['threads']} thread{'s' if machine['threads'] != 1 else ''}"
        title = (machine["device"], threads, machine["precision"], f"batch {machine['batch']}", machine["dataset"])
        axes.set_title(", ".join(map(str, title)))
        axes.set_xlabel("Latency (ms)")
    repeats = parts.number_of(table.groupby([*MACHINE, "model"], sort=False).size(), "repeats after warm-up")
    parts.caption(figure, repeats, "box: quartiles; line: median; triangle: 95th percentile; at the right as numbers")
    return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame) -> None:
    labels = []
    for position, (model, repeats, look) in enumerate(looks.models_of(rows)):
        values, (_, first) = repeats["milliseconds"], next(repeats.iterrows())
        y = position + parts.spread(len(values), SPREAD)
        axes.plot(values, y, ".", color=look.color, markersize=2.5, markeredgewidth=0, alpha=0.6)
        line = {"color": INK, "linewidth": 0.8}
        axes.boxplot(
            [values], positions=[position], widths=0.55, orientation="horizontal", showfliers=False, showcaps=False,
            boxprops=line, whiskerprops=line, medianprops={"color": INK, "linewidth": 2.0}, manage_ticks=False,
        )  # fmt: skip
        axes.plot(first["p95_ms"], position, "v", color=INK, markersize=4)
        numbers = f"{cells.three_digits(first['median_ms'])}  /  {cells.three_digits(first['p95_ms'])}"
        axes.text(1.02, position, numbers, transform=axes.get_yaxis_transform(), va="center", fontsize=7)
        size = "" if np.isnan(first["voxels"]) else f"\n{first['voxels']:,.0f} voxels".replace(",", "\u202f")
        labels.append(f"{model}{size}")
    axes.text(1.02, -0.7, "median / p95", transform=axes.get_yaxis_transform(), va="bottom", fontsize=7, weight="bold")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    if rows["median_ms"].max() > LOGARITHMIC * rows["median_ms"].min():
        axes.set_xscale("log")
    else:
        axes.set_xlim(left=0)
    parts.quiet_grid(axes, "x")
