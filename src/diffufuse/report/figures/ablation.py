"""Dice of single patients for the full method and its ablations."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.selection import in_domain_values
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
        Columns dataset, region, model, ablation (display name), patient, value, median (of the patients),
        group, member; in the order of the paper. A one-row note if there is no ablation.
    """
    ablation_names = _ablations(evidence)
    values = in_domain_values(evidence, ["dice"], models=ablation_names)
    if set(values["model"]) <= {evidence.compare_with}:
        return cells.sentence(NOTHING.format(full=evidence.compare_with))
    median = values.groupby(parts.MODEL)["value"].transform("median")
    labeled = values.assign(ablation=values["model"].map(ablation_names), median=median)
    table = looks.grouped(labeled[[*parts.MODEL, "ablation", "patient", "value", "median"]], evidence)
    order = list(ablation_names)
    return table.sort_values("model", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)


def _ablations(evidence: Evidence) -> dict[str, str]:
    """Model → display name, in the order of the paper, without models that differ at test time alone."""
    ablation_names = {model: what for what, model in ablations(evidence) if not gates_off(evidence.models[model])}
    rank = {what: number for number, what in enumerate([*ORDER, *ablation_names.values()])}
    return dict(sorted(ablation_names.items(), key=lambda item: rank[item[1]]))


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw a box and every patient per ablation, one panel per region.

    Args:
        table: from `data`.
    """
    places = [rows for _, rows in table.groupby(looks.PLACE, sort=False)]
    most_models = max(rows["model"].nunique() for rows in places)
    figure, grid = parts.panels(len(places), width_in=max(3.2, 0.8 + 0.75 * most_models), height_in=3.0)
    for axes, rows in zip(grid, places, strict=True):
        _draw_panel(axes, rows)
        axes.set_ylabel(f"Dice, {parts.place_of(rows)}")
    boxes = "box: quartiles; line and number: median; a point: one patient, at the same place in every box"
    counts = table.dropna(subset="value").groupby(parts.MODEL, sort=False)["patient"].nunique()
    parts.caption(figure, parts.number_of(counts), boxes, _names(table))
    return figure


def _names(table: pd.DataFrame) -> str:
    names = table.drop_duplicates("model").set_index("ablation")["model"]
    texts = (f"{name}: {names[name]}" for name in (FULL, BACKBONE_ALONE) if name in names)
    return "; ".join(texts)


def _draw_panel(axes: Axes, place: pd.DataFrame) -> None:
    patients = sorted(set(place["patient"]))
    shifts = dict(zip(patients, parts.spread(len(patients), SPREAD), strict=True))
    models = looks.models_of(place)
    for number, (_, rows, look) in enumerate(models):
        line = {"color": INK, "linewidth": 0.8}
        axes.boxplot(
            [rows["value"].dropna()], positions=[number], widths=0.6, showfliers=False, showcaps=False,
            boxprops=line, whiskerprops=line, medianprops={"color": INK, "linewidth": 2.0}, manage_ticks=False,
        )  # fmt: skip
        axes.plot(number + rows["patient"].map(shifts), rows["value"], **looks.mark(look, size=3.5), alpha=0.8)
        axes.text(number, 1.03, cells.fixed(rows["median"].iloc[0], 3), ha="center", va="bottom", fontsize=7)
    labels = [parts.fold(rows["ablation"].iloc[0].replace(" ", "\n", 1), 14) for _, rows, _ in models]
    axes.set_xticks(range(len(models)), labels)
    axes.set_xlim(-0.6, len(models) - 0.4)
    parts.unit_axis(axes, "y")
