"""Forest plot: mean paired difference of Dice, or of fused images' Qabf, between every model and one, per condition."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.nouns import noun_of
from diffufuse.report.style import INK, MEDIUM
from diffufuse.report.tables.comparison import compare

NOTHING = "Nothing to compare: the study has one model, or measures neither Dice nor Qabf."
SHOWN = {"dice": "Dice", "qabf": "Qabf"}
STATISTICS = ["patients", "left_out", "zero", "difference", "low", "high", "hodges_lehmann", "p", "p_holm"]
LEFT, RIGHT = "\N{LEFTWARDS ARROW}", "\N{RIGHTWARDS ARROW}"
MARKS = "bar: 95\u00a0% bootstrap interval of the mean; black tick: Hodges-Lehmann estimate"
TEST = "p: Wilcoxon signed-rank, adjusted by Holm over the models under one condition"
ROW_IN = 0.2
MARGIN = 0.05
LEAST_REACH = 0.02
COLUMNS_POINTS = (5, 45)


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: the comparisons of Dice from `tables.comparison.compare`; without Dice, those of Qabf.

    Returns:
        Columns dataset, region, condition, model, against, patients (pairs), left_out, zero, difference (model minus
        against), low, high, hodges_lehmann, p, p_holm, group, member, and unless it is Dice metric and noun (what
        counts once); by dataset, region and condition. A one-row note if there is nothing to compare.
    """
    metrics = [metric for metric in SHOWN if metric in evidence.asked][:1]
    comparisons = compare(replace(evidence, asked=metrics))
    if comparisons.empty:
        return cells.sentence(NOTHING)
    comparisons = comparisons.assign(against=evidence.compare_with)
    named = [] if metrics == ["dice"] else ["metric", "noun"]
    comparisons = comparisons.assign(noun=noun_of(evidence, comparisons["dataset"]))
    return looks.grouped(comparisons[[*looks.PLACE, "condition", *named, "model", "against", *STATISTICS]], evidence)


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw the differences with their intervals, one panel per region and condition, a row per model.

    Args:
        table: from `data`.
    """
    models = list(dict.fromkeys(table["model"]))
    panels = [rows for _, rows in table.groupby([*looks.PLACE, "condition"], sort=False)]
    ends = table[["low", "high", "difference", "hodges_lehmann"]].to_numpy(float)
    finite = ends[np.isfinite(ends)]
    low, high = float(finite.min(initial=-LEAST_REACH)), float(finite.max(initial=LEAST_REACH))
    height_in = 1.25 + ROW_IN * len(models)
    figure, grid = parts.panels(len(panels), width_in=2.75, height_in=height_in, margin_in=parts.room_for(models))
    for axes, rows in zip(grid, panels, strict=True):
        _draw_panel(axes, rows, models)
        axes.set_xlim(low - MARGIN * (high - low), high + MARGIN * (high - low))
        if not axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            axes.tick_params(left=False, labelleft=False)
    noun = table["noun"].iloc[0] if "noun" in table else "patients"
    parts.caption(figure, parts.number_of(table["patients"], noun), MARKS, TEST)
    return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame, models: list[str]) -> None:
    axes.axvline(0, color=MEDIUM, linewidth=0.8)
    for model, row, look in looks.models_of(rows):
        first, y = row.iloc[0], models.index(model)
        axes.plot([first["low"], first["high"]], [y, y], color=look.color, linewidth=1.4)
        axes.plot(first["difference"], y, **looks.mark(look))
        axes.plot(first["hodges_lehmann"], y, "|", color=INK, markersize=9, markeredgewidth=1.2)
        _annotate_right(axes, y, cells.probability(first["p_holm"]), str(first["patients"]))
    _annotate_right(axes, -1, "p (Holm)", "n", weight="bold")
    axes.set_yticks(range(len(models)), models)
    axes.set_ylim(len(models) - 0.4, -1.4)
    axes.set_title(f"{rows['condition'].iloc[0]}\n{parts.place_of(rows)}")
    against = parts.fold(rows["against"].iloc[0], 26)
    metric = SHOWN[rows["metric"].iloc[0] if "metric" in rows else "dice"]
    axes.set_xlabel(f"Difference of {metric}\n{LEFT} favors {against}\nfavors the model of the row {RIGHT}")
    parts.quiet_grid(axes, "x")


def _annotate_right(axes: Axes, y: float, *texts: str, **style: Any) -> None:
    for text, points in zip(texts, COLUMNS_POINTS, strict=True):
        placement: dict[str, Any] = {
            "xycoords": axes.get_yaxis_transform(),
            "xytext": (points, 0),
            "textcoords": "offset points",
        }
        axes.annotate(text, (1, y), **placement, va="center", fontsize=6.5, annotation_clip=False, **style)
