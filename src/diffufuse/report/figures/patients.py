"""Dice of every patient under all models."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import looks, parts
from diffufuse.report.selection import in_domain_values, with_own_masks
from diffufuse.report.style import QUIET
from diffufuse.report.ties import tie_groups

NOTHING = "No patients to draw: the study measures no Dice under clean."
ROW_IN = 0.16
FEWEST = 4


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table: Dice of every patient under `clean`, best first by the Dice of `compare_with`.

    Returns:
        Columns dataset, region, model, patient, value, group, member; patients without a value under `compare_with`
        come last. A one-row note if there is no Dice under `clean`.
    """
    values = in_domain_values(evidence, ["dice"], models=with_own_masks(evidence))[[*parts.MODEL, "patient", "value"]]
    if values.empty:
        return cells.sentence(NOTHING)
    first = values[values["model"] == evidence.compare_with].rename(columns={"value": "first"})
    key = [*looks.PLACE, "patient"]
    values = values.merge(first[[*key, "first"]], on=key, how="left")
    values = values.assign(first=tie_groups(-values["first"].to_numpy(float))).sort_values(["first", "patient"])
    return looks.grouped(values.drop(columns="first"), evidence)


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw a line per patient with a marker per model, one panel per region and group of models.

    Args:
        table: from `data`.
    """
    panels = looks.together(table)
    patients = max(part["patient"].nunique() for part in panels)
    height_in = parts.with_legend(0.9 + ROW_IN * max(patients, FEWEST), panels, lines=1)
    figure, grid = parts.panels(len(panels), width_in=4.0, height_in=height_in)
    for axes, part in zip(grid, panels, strict=True):
        _draw_panel(axes, part)
        axes.set_title(parts.place_of(part))
        parts.legend(figure, axes, "below")
    first = table.loc[table["member"] == 0, "model"].unique()
    order = "".join(f"sorted by the Dice of {name}" for name in first)
    counts = table.dropna(subset="value").groupby(parts.MODEL, sort=False)["patient"].nunique()
    parts.caption(figure, parts.number_of(counts), order)
    return figure


def _draw_panel(axes: Axes, part: pd.DataFrame) -> None:
    order = list(dict.fromkeys(part["patient"]))
    values = part.groupby("patient", sort=False)["value"]
    axes.hlines(range(len(order)), values.min(), values.max(), color=QUIET, linewidth=0.8, zorder=1)
    for model, rows, look in looks.models_of(part):
        layer = 3 - rows["member"].iloc[0] / (looks.TOGETHER + 1)
        places = rows["patient"].map(order.index)
        axes.plot(rows["value"], places, label=model, zorder=layer, **looks.mark(look, size=4))
    axes.set_yticks(range(len(order)), order)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlabel("Dice, clean")
    parts.unit_axis(axes, "x")
