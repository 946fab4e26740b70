"""Dice under each condition, one panel per model and region: every patient, the mean, and how sure it is."""

import math
import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.figures.style import INK, MARKERS, MEDIUM, PALETTE, QUIET, house_style, new_figure
from diffufuse.reporting.patients import QUANTITY, patient_statistics, per_patient

ROW = ["dataset", "region"]
COLUMN = ["trained_on", "model"]
STATISTICS = ["mean", "mean_low", "mean_high"]
SPREAD = 0.16
PAGE_IN = 13.0
CROWDED = 6
CHARACTERS_PER_INCH = 16
GOLDEN_ANGLE = (math.sqrt(5) - 1) / 2


def data(metrics: pd.DataFrame, patients: Mapping[str, str], study_seed: int) -> pd.DataFrame:
    """The figure's table: Dice of every patient, beside the mean over patients and its 95 % interval.

    Args:
        metrics: a frame in the schema `tables.METRICS`.
        patients: case → patient, from the cohort.
        study_seed: the study's one seed; the intervals are those of the summary.

    Returns:
        Columns dataset, condition, trained_on, model, region, metric, unit, patient, value, mean, mean_low, mean_high.
    """
    dice = metrics[metrics["metric"] == "dice"]
    summary = patient_statistics(dice, patients, study_seed=study_seed)
    return per_patient(dice, patients).merge(summary[[*QUANTITY, *STATISTICS]], on=QUANTITY, how="left")


def draw(table: pd.DataFrame) -> Figure:
    """Draw Dice by condition.

    Gray lines join the values of one patient; large markers are means over patients with their 95 % intervals.

    Args:
        table: as returned by `data`.

    Returns:
        A figure with one panel per model, dataset and region; models side by side, in more lines where the page ends.
    """
    rows, columns = ([key for key, _ in table.groupby(keys, sort=False)] for keys in (ROW, COLUMN))
    conditions = list(dict.fromkeys(table["condition"]))
    with house_style():
        panel_in = max(2.2, 0.55 + (0.5 if len(conditions) < CROWDED else 0.28) * len(conditions))
        across = max(1, min(len(columns), int(PAGE_IN / panel_in)))
        lines = [(row, columns[first : first + across]) for row in rows for first in range(0, len(columns), across)]
        figure = new_figure(0.6 + panel_in * across, 0.9 + 2.3 * len(lines))
        grid = figure.subplots(len(lines), across, sharex=True, sharey=True, squeeze=False)
        for axes_row, (row, models) in zip(grid, lines, strict=True):
            axes_row[0].set_ylabel(f"Dice, {row[1]}\n{row[0]}")
            for axes, column in zip(axes_row, models, strict=False):
                inside = (table[ROW] == row).all(axis=1) & (table[COLUMN] == column).all(axis=1)
                _draw_panel(axes, table[inside], conditions, columns.index(column))
                axes.set_title(_title(*map(str, column), datasets=set(table["dataset"])))
        _leave_blank(grid, [len(models) for _, models in lines])
        line = int(CHARACTERS_PER_INCH * figure.get_figwidth())
        figure.supxlabel(textwrap.fill(_caption(table), line), fontsize=7, color=INK)
    return figure


def _leave_blank(grid: np.ndarray, filled: list[int]) -> None:
    """Hide the places of a line that no model fills; the panel above then shows the names of the conditions."""
    for line, used in enumerate(filled):
        for place in range(used, grid.shape[1]):
            grid[line, place].set_axis_off()
            if line and filled[line - 1] > place:
                grid[line - 1, place].tick_params(labelbottom=True)


def _draw_panel(axes: Axes, table: pd.DataFrame, conditions: list[str], number: int) -> None:
    place = {condition: float(index) for index, condition in enumerate(conditions)}
    offsets = _offsets(table["patient"])
    for patient, values in table.groupby("patient", sort=False):
        x = values["condition"].map(place) + offsets[str(patient)]
        axes.plot(
            x,
            values["value"],
            color=QUIET,
            linewidth=0.5,
            marker="o",
            markersize=1.8,
            markerfacecolor=MEDIUM,
            markeredgewidth=0,
        )
    means = table.drop_duplicates("condition")
    axes.errorbar(
        means["condition"].map(place).to_numpy(),
        means["mean"].to_numpy(),
        yerr=np.stack([means["mean"] - means["mean_low"], means["mean_high"] - means["mean"]]),
        fmt=MARKERS[number % len(MARKERS)],
        color=PALETTE[number % len(PALETTE)],
        markeredgecolor="white",
        markeredgewidth=0.5,
        markersize=6,
        elinewidth=1.6,
        zorder=3,
    )
    if table.empty:
        axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", color=MEDIUM)
    axes.set_xticks(list(place.values()), conditions, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.5, len(conditions) - 0.5)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.6)
    axes.set_axisbelow(True)


def _offsets(patients: pd.Series) -> dict[str, float]:
    """A fixed sideways shift per patient: a low-discrepancy sequence in place of chance, alike on every drawing."""
    names = sorted(set(patients))
    return {name: SPREAD * (2 * ((index + 1) * GOLDEN_ANGLE % 1) - 1) for index, name in enumerate(names)}


def _title(trained_on: str, model: str, *, datasets: set[str]) -> str:
    return model if datasets == {trained_on} else f"{model}\ntrained on {trained_on}"


def _caption(table: pd.DataFrame) -> str:
    counts = table.groupby([*ROW, *COLUMN, "condition"], sort=False)["patient"].nunique()
    low, high = int(np.min(counts)), int(np.max(counts))
    n = str(low) if low == high else f"{low} to {high}"
    return f"n = {n} patients; mean over patients with 95\u00a0% bootstrap interval"
