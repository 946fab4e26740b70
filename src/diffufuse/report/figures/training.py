"""Training curves of every model: the loss, and what was measured on validation cases while it learned."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import looks, parts

NOTHING = "No training to draw: the study trains no model, or kept no curves."
BINS = 100
# Beginning of a quantity of the history → what it is called. Dice of several regions is averaged.
CURVES = {"loss": "Loss", "validation_dice_": "Validation Dice", "validation_qabf": "Validation Qabf"}
UNIT = ("Validation Dice", "Validation Qabf")
MARKED = 10


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: a curve per dataset, model and quantity, over folds and seeds.

    Returns:
        Columns dataset, curve, model, step (middle of a bin of steps), median, low and high (the range) over runs of
        their mean in the bin, runs, group, member. A one-row note without curves.
    """
    rows = evidence.curves[evidence.curves["model"].isin(evidence.models)]
    rows = rows.assign(curve=rows["quantity"].map(_curve_of)).dropna(subset=["curve", "value"])
    if rows.empty:
        return cells.sentence(NOTHING)
    width = max(1, int(np.ceil((rows["step"].max() + 1) / BINS)))
    binned = rows.assign(step=(rows["step"] // width) * width + width // 2)
    names = ["dataset", "curve", "model", "step"]
    means = binned.groupby([*names, "fold", "seed"])["value"].mean().groupby(names)
    table = pd.DataFrame({"median": means.median(), "low": means.min(), "high": means.max(), "runs": means.size()})
    grouped = looks.grouped(table.reset_index(), evidence)
    return grouped.sort_values(["dataset", "curve", "group", "member", "step"], kind="stable", ignore_index=True)


def _curve_of(quantity: str) -> str | None:
    if quantity == "loss":
        return CURVES["loss"]
    return next((CURVES[name] for name in CURVES if name != "loss" and quantity.startswith(name)), None)


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw a line of medians with the range over runs for each model; a row per dataset and group of models.

    Args:
        table: from `data`.
    """
    panels = [
        rows[(rows["group"] == group) | (rows["member"] == 0)]
        for _, rows in table.groupby("dataset", sort=False)
        for group in sorted(set(rows.loc[rows["member"] > 0, "group"])) or [0]
    ]
    curves = [name for name in CURVES.values() if name in set(table["curve"])]
    figure, grid = parts.lines(
        len(panels), len(curves), width_in=3.2, height_in=2.5, margin_in=0.6 + parts.room_for(table["model"])
    )
    for row, part in zip(grid, panels, strict=True):
        for axes, curve in zip(row, curves, strict=True):
            _draw_panel(axes, part[part["curve"] == curve])
            axes.set_ylabel(f"{curve}, {part['dataset'].iloc[0]}")
            if curve in UNIT:
                parts.unit_axis(axes, "y")
        parts.legend(figure, row[-1], "right", handles=_handles(row))
    parts.caption(
        figure, parts.number_of(table["runs"], "runs"), "line: median over folds and seeds; band: their range"
    )
    return figure


def _handles(row: list[Axes]) -> list[Any]:
    """The line of every model of a row; a fuser has no Dice, so no panel has them all."""
    found = {line.get_label(): line for axes in row for line in axes.get_lines()}
    return [line for label, line in found.items() if not str(label).startswith("_")]


def _draw_panel(axes: Axes, part: pd.DataFrame) -> None:
    for model, rows, look in looks.models_of(part):
        axes.fill_between(rows["step"], rows["low"], rows["high"], color=look.color, alpha=0.15, linewidth=0)
        axes.plot(rows["step"], rows["median"], color=look.color, linestyle=look.line, linewidth=1.2, label=model)
        if len(rows) <= MARKED:
            axes.plot(rows["step"], rows["median"], **looks.mark(look, size=4.0))
    axes.set_xlabel("Step")
    parts.quiet_grid(axes, "y")
