"""The cases on which a model did best, as usual, and worst."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from diffufuse.report.pictures.overlay import Row, draw_contours, draw_legend, draw_score
from diffufuse.report.pictures.panels import Kind, draw_image, draw_orientation, shown_slice, view_of, window
from diffufuse.report.style import house_style, new_figure
from diffufuse.types import Mask, Spacing

PANEL_IN = 2.0
RANKS = {"best": 0.0, "median": 0.5, "worst": 1.0}


@dataclass(frozen=True)
class Ranked:
    """A case and what a model made of it.

    Attributes:
        row: its images, prediction and scores; the condition is the case's rank and name.
        reference: (X, Y, Z) boolean.
        spacing_mm: voxel size.
    """

    row: Row
    reference: Mask
    spacing_mm: Spacing


def ranked_cases(metrics: pd.DataFrame) -> dict[str, str]:
    """The best, the median and the worst case by Dice, the mean over seeds; ties go to the name that comes first.

    Args:
        metrics: in the schema `METRICS`, of one dataset, model, condition and region.

    Returns:
        Rank → case; fewer if there are fewer cases.
    """
    dice = metrics[metrics["metric"] == "dice"].groupby("case")["value"].mean().sort_index()
    order = list(dice.sort_values(ascending=False, kind="stable").index)
    places = {rank: round(share * (len(order) - 1)) for rank, share in RANKS.items()} if order else {}
    return {rank: order[place] for place, rank in {place: rank for rank, place in places.items()}.items()}


def draw(cases: Sequence[Ranked], *, title: str, modalities: Mapping[str, Kind]) -> Figure:
    """Draw one row per case, the axial slice with most reference, one column per modality, with both contours.

    Args:
        cases: each on a grid of its own, in the order of the rows.
        title: model and dataset.
        modalities: name → kind, in the order of the scans' images.
    """
    views = [
        view_of([each.row.scan], shown_slice(each.reference, [each.row.prediction]), each.spacing_mm) for each in cases
    ]
    heights_in = [PANEL_IN * view.size_mm[1] / view.size_mm[0] for view in views]
    with house_style():
        figure = new_figure(1.3 + PANEL_IN * len(modalities), 0.9 + sum(heights_in))
        grid = figure.subplots(
            len(cases), len(modalities), squeeze=False, gridspec_kw={"height_ratios": heights_in or None}
        )
        for line, each, view in zip(grid, cases, views, strict=True):
            for channel, (axes, kind) in enumerate(zip(line, modalities.values(), strict=True)):
                draw_image(axes, each.row.scan, channel, view, window([each.row.scan], channel, kind), kind)
                draw_contours(axes, each.reference, each.row.prediction, view)
            draw_score(line[0], each.row)
            draw_orientation(line[0], view)
        for axes, modality in zip(grid[0], modalities, strict=True):
            axes.set_title(modality, fontweight="normal")
        draw_legend(figure, title)
    return figure
