"""Dice under missing modalities, with learned and with uniform gates."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.report import cells
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.style import MEDIUM
from diffufuse.report.tables.ablation import gates_off
from diffufuse.report.tables.robustness import withholds

NOTHING = "Nothing is withheld: the study has no condition without a modality, or does not measure Dice."
GATES = "hollow: the same weights with uniform gates"
HALF_WIDTH = 0.32


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: Dice over patients under `clean` and under each condition that withholds modalities.

    Returns:
        Columns dataset, region, condition, model, those of `parts.STATISTICS`, group, member, and gates: `own`, or
        `uniform` for the weights of `compare_with` with uniform gates, drawn in every panel. Other variants are left
        out. A one-row note if the study withholds nothing.
    """
    withheld = [name for name, block in evidence.conditions.items() if withholds(block)]
    with_uniform_gates = [
        m for m, b in evidence.models.items() if gates_off(b) and b["weights_of"] == evidence.compare_with
    ]
    baselines = [model for model in evidence.models if not looks.is_variant(evidence, model)]
    order = {model: rank for rank, model in enumerate([evidence.compare_with, *with_uniform_gates, *baselines])}
    condition_order = {condition: rank for rank, condition in enumerate([CLEAN, *withheld])}
    dice = parts.of_masks(evidence.summary, evidence, "dice")
    table = dice[dice["condition"].isin(condition_order) & dice["model"].isin(order)]
    if not table["condition"].isin(withheld).any():
        return cells.sentence(NOTHING)
    table = table.sort_values(
        ["condition", "model"], key=lambda names: names.map(condition_order | order), kind="stable"
    )
    table = looks.grouped(table[[*looks.PLACE, "condition", "model", *parts.STATISTICS]], evidence)
    uniform = table["model"].isin(with_uniform_gates)
    table.loc[uniform, ["group", "member"]] = 0
    return looks.in_order(table.assign(gates=uniform.map({True: "uniform", False: "own"})))


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw a marker per model and condition, the mean over patients with its interval, one panel per region and group.

    Args:
        table: from `data`.
    """
    panels, conditions = looks.together(table), list(dict.fromkeys(table["condition"]))
    width_in = 0.8 + len(conditions) * max(0.45, 0.1 * max(part["model"].nunique() for part in panels))
    figure, grid = parts.lines(
        len(panels), 1, width_in=width_in, height_in=2.7, margin_in=0.6 + parts.room_for(table["model"])
    )
    for (axes,), part in zip(grid, panels, strict=True):
        _draw_panel(axes, part, conditions)
        axes.set_ylabel(f"Dice, {parts.place_of(part)}")
        parts.legend(figure, axes, "right")
    gates = GATES if (table["gates"] == "uniform").any() else ""
    parts.caption(figure, parts.number_of(table["patients"]), parts.INTERVAL, gates, parts.left_out(table))
    return figure


def _draw_panel(axes: Axes, part: pd.DataFrame, conditions: list[str]) -> None:
    shifts = parts.beside(part["model"], HALF_WIDTH)
    positions = {condition: rank for rank, condition in enumerate(conditions)}
    x = part["condition"].map(positions) + part["model"].map(shifts)
    for _, rows in part[part["member"] == 0].groupby("condition"):
        axes.plot(x[rows.index], rows["mean"], color=MEDIUM, linewidth=0.8)
    for model, rows, look in looks.models_of(part):
        shown_look = look._replace(face="white") if (rows["gates"] == "uniform").all() else look
        style = {**looks.mark(shown_look), "elinewidth": 1.0, "label": model}
        axes.errorbar(x[rows.index], rows["mean"], yerr=parts.intervals(rows), **style)
    axes.set_xticks(range(len(conditions)), conditions, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xticks([rank + 0.5 for rank in range(len(conditions) - 1)], minor=True)
    axes.tick_params(axis="x", which="minor", length=0)
    axes.grid(axis="x", which="minor", color=parts.FAINT, linewidth=0.8)
    axes.set_xlim(-0.5, len(conditions) - 0.5)
    parts.unit_axis(axes, "y")
