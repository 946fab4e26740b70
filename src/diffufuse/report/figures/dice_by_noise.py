"""Dice and IoU by the standard deviation of Gaussian noise on all modalities."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.report import cells
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.figures import looks, parts

OVERLAPS = {"dice": "Dice", "iou": "IoU"}
NOTHING = "No noise to draw: the study has no condition with Gaussian noise on all modalities, or neither Dice nor IoU."
SIDEWAYS = 0.006


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: Dice and IoU over patients, by the standard deviation of the noise, 0 for `clean`.

    Returns:
        Columns dataset, region, condition, model, metric, those of `parts.STATISTICS`, noise_sd (in units of the
        image's standard deviation inside the body), group, member. A one-row note without noise or without both
        metrics.
    """
    levels = {name: _noise_sd(block) for name, block in evidence.conditions.items()} | {CLEAN: 0.0}
    table = parts.of_masks(evidence.summary, evidence, *OVERLAPS)
    table = table.assign(noise_sd=table["condition"].map(levels).astype(float)).dropna(subset="noise_sd")
    if not table["noise_sd"].any():
        return cells.sentence(NOTHING)
    names = [*looks.PLACE, "condition", "model", "metric", *parts.STATISTICS, "noise_sd"]
    return looks.grouped(table[names], evidence)


def _noise_sd(block: object) -> float | None:
    """SD of the Gaussian noise of a condition that does nothing else and affects all modalities; otherwise None."""
    match block:
        case {"modalities": _} | {"kinds": _} | {"absent": _} | {"present": _}:
            return None
        case {"corruption": "gaussian_noise", "settings": {"noise_sd": noise_sd}}:
            return float(noise_sd)
    return None


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw a line per model: mean over patients with its interval, one row per region and group of models.

    Args:
        table: from `data`.
    """
    panels, metrics = looks.together(table), [name for name in OVERLAPS if name in set(table["metric"])]
    figure, grid = parts.lines(
        len(panels), len(metrics), width_in=3.2, height_in=2.5, margin_in=0.6 + parts.room_for(table["model"])
    )
    for row, part in zip(grid, panels, strict=True):
        for axes, metric in zip(row, metrics, strict=True):
            _draw_panel(axes, part[part["metric"] == metric])
            axes.set_ylabel(f"{OVERLAPS[metric]}, {parts.place_of(part)}")
            axes.set_xlabel("Gaussian noise (SD of the image in the body)")
        parts.legend(figure, row[-1], "right")
    parts.caption(figure, parts.number_of(table["patients"]), parts.INTERVAL, parts.left_out(table))
    return figure


def _draw_panel(axes: Axes, part: pd.DataFrame) -> None:
    levels = sorted(set(part["noise_sd"]))
    shifts = parts.beside(part["model"], SIDEWAYS * levels[-1] * (part["model"].nunique() - 1))
    for model, rows, look in looks.models_of(part):
        rows = rows.sort_values("noise_sd")
        line = {**looks.mark(look), "linestyle": look.line, "linewidth": 1.0, "elinewidth": 1.0}
        x = rows["noise_sd"] + shifts[model]
        axes.errorbar(x, rows["mean"], yerr=parts.intervals(rows), label=model, **line)
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    parts.unit_axis(axes, "y")
