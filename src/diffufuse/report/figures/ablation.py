"""Dice of single patients for the full method and for each of its parts taken away."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.selection import home_values
from diffufuse.report.style import INK
from diffufuse.report.tables.ablation import ablations, gates_off

NOTHING = "No ablation to draw: under clean the study measures the Dice of no ablation of {full}."
FULL = "full model"
ORDER = (FULL, "no diffusion", "no gating", "no alignment", "no time", "no dropout")
BACKBONE_ALONE = "CNN backbone alone"
SPREAD = 0.22


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: Dice of every patient under `clean`, of `compare_with` and of its ablations.

    Returns:
        Columns dataset, region, model, ablation (what a reader calls it), patient, value, median (of the patients),
        group, member; in the order of the paper. One sentence if there is no ablation.
    """
    called = _ablations(evidence)
    values = home_values(evidence, ["dice"], models=called)
    if set(values["model"]) <= {evidence.compare_with}:
        return cells.sentence(NOTHING.format(full=evidence.compare_with))
    median = values.groupby(parts.MODEL)["value"].transform("median")
    named = values.assign(ablation=values["model"].map(called), median=median)
    table = looks.grouped(named[[*parts.MODEL, "ablation", "patient", "value", "median"]], evidence)
    order = list(called)
    return table.sort_values("model", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def _ablations(evidence: Evidence) -> dict[str, str]:
    """Model → what a reader calls it, in the order of the paper; those switched at test time alone are left out."""
    called = {model: what for what, model in ablations(evidence) if not gates_off(evidence.models[model])}
    rank = {what: number for number, what in enumerate([*ORDER, *called.values()])}
    return dict(sorted(called.items(), key=lambda item: rank[item[1]]))


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw a box and every patient per ablation, one panel per region.

    Args:
        table: as returned by `data`.
    """
    found = [place for _, place in table.groupby(looks.PLACE, sort=False)]
    most = max(place["model"].nunique() for place in found)
    figure, grid = parts.panels(len(found), width_in=max(3.2, 0.8 + 0.75 * most), height_in=3.0)
    for axes, place in zip(grid, found, strict=True):
        _draw_panel(axes, place)
        axes.set_ylabel(f"Dice, {parts.place_of(place)}")
    boxes = "box: quartiles; line and number: median; a point: one patient, at the same place in every box"
    counts = table.dropna(subset="value").groupby(parts.MODEL, sort=False)["patient"].nunique()
    parts.caption(figure, parts.number_of(counts), boxes, _names(table))
    return figure


def _names(table: pd.DataFrame) -> str:
    names = table.drop_duplicates("model").set_index("ablation")["model"]
    told = (f"{name}: {names[name]}" for name in (FULL, BACKBONE_ALONE) if name in names)
    return "; ".join(told)


def _draw_panel(axes: Axes, place: pd.DataFrame) -> None:
    people = sorted(set(place["patient"]))
    aside = dict(zip(people, parts.spread(len(people), SPREAD), strict=True))
    found = looks.models_of(place)
    for number, (_, rows, whose) in enumerate(found):
        line = {"color": INK, "linewidth": 0.8}
        axes.boxplot(
            [rows["value"].dropna()], positions=[number], widths=0.6, showfliers=False, showcaps=False,
            boxprops=line, whiskerprops=line, medianprops={"color": INK, "linewidth": 2.0}, manage_ticks=False,
        )  # fmt: skip
        axes.plot(number + rows["patient"].map(aside), rows["value"], **looks.mark(whose, size=3.5), alpha=0.8)
        axes.text(number, 1.03, cells.fixed(rows["median"].iloc[0], 3), ha="center", va="bottom", fontsize=7)
    labels = [parts.fold(rows["ablation"].iloc[0].replace(" ", "\n", 1), 14) for _, rows, _ in found]
    axes.set_xticks(range(len(found)), labels)
    axes.set_xlim(-0.6, len(found) - 0.4)
    parts.unit_axis(axes, "y")
