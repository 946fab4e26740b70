"""Dice under each condition, one panel per model and region: every patient, and the mean with its interval."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.patients import QUANTITY, per_patient
from diffufuse.report.style import MEDIUM, QUIET

NOTHING = "Nothing to draw: the study does not measure Dice."
SPREAD = 0.16
STEPS_IN = ((6, 0.5), (16, 0.28), (40, 0.2))
NARROWEST_IN = 0.16


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: Dice of every patient, the mean over patients and its 95 % interval.

    Returns:
        Columns dataset, region, condition, model, patient, value, those of `parts.STATISTICS`, group, member; models
        and conditions in the study's order. A one-row note if the study does not report Dice.
    """
    dice = parts.of_masks(evidence.metrics, evidence, "dice")
    if dice.empty:
        return cells.sentence(NOTHING)
    values = per_patient(dice, evidence.patients).merge(evidence.summary, on=QUANTITY, how="left")
    names = [*looks.PLACE, "condition", "model", "patient", "value", *parts.STATISTICS]
    return looks.grouped(values[names], evidence)


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw Dice by condition.

    Gray lines join the values of one patient; large markers are means over patients with their 95 % intervals.

    Args:
        table: from `data`.

    Returns:
        A figure with one panel per model and region, in a grid that fits the page.
    """
    conditions = list(dict.fromkeys(table["condition"]))
    models = [
        (model, rows, look)
        for _, place in table.groupby(looks.PLACE, sort=False)
        for model, rows, look in looks.models_of(place)
    ]
    step_in = next((step for most, step in STEPS_IN if len(conditions) < most), NARROWEST_IN)
    width_in = max(2.3, 0.65 + step_in * len(conditions))
    figure, grid = parts.panels(len(models), width_in=width_in, height_in=3.0)
    for axes, (model, rows, look) in zip(grid, models, strict=True):
        _draw_panel(axes, rows, conditions, look)
        axes.set_title(parts.fold(model, int(11 * width_in)))
        axes.set_ylabel(f"Dice, {parts.place_of(rows)}")
    counts = table.groupby([*parts.MODEL, "condition"], sort=False)["patient"].nunique()
    parts.caption(figure, parts.number_of(counts), parts.INTERVAL, parts.left_out(table))
    return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame, conditions: list[str], look: looks.Look) -> None:
    patients = sorted(set(rows["patient"]))
    shifts = dict(zip(patients, parts.spread(len(patients), SPREAD), strict=True))
    position = {condition: float(rank) for rank, condition in enumerate(conditions)}
    point_style: dict[str, Any] = {"marker": "o", "markersize": 1.8, "markerfacecolor": MEDIUM, "markeredgewidth": 0}
    for patient, values in rows.groupby("patient", sort=False):
        x = values["condition"].map(position) + shifts[str(patient)]
        axes.plot(x, values["value"], color=QUIET, linewidth=0.5, **point_style)
    means = rows.drop_duplicates("condition")
    style = {**looks.mark(look, size=6), "elinewidth": 1.6, "zorder": 3}
    axes.errorbar(means["condition"].map(position), means["mean"], yerr=parts.intervals(means), **style)
    axes.set_xticks(range(len(conditions)), conditions, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.5, len(conditions) - 0.5)
    parts.unit_axis(axes, "y")
