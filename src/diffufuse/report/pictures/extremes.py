"""The best, median and worst case of a model by Dice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from diffufuse.evaluate.schemas import METRICS
from diffufuse.files.tables import read_tables
from diffufuse.report.pictures.inputs import Inputs
from diffufuse.report.pictures.panels import Kind, draw_image, draw_orientation, kinds_of, shown_slice, view_of, window
from diffufuse.report.pictures.rows import Row, draw_contours, draw_legend, draw_score, reference_of, row_of
from diffufuse.report.style import house_style, new_figure
from diffufuse.report.ties import tie_groups
from diffufuse.types import Mask, Spacing

PANEL_IN = 2.0
RANKS = {"best": 0.0, "median": 0.5, "worst": 1.0}


@dataclass(frozen=True)
class Ranked:
    """A case and its prediction.

    Attributes:
        row: images, prediction and scores; `condition` holds rank and name of the case.
        reference: (X, Y, Z) boolean.
        spacing_mm: voxel size.
    """

    row: Row
    reference: Mask
    spacing_mm: Spacing


def ranked_cases(metrics: pd.DataFrame) -> dict[str, str]:
    """The best, the median and the worst case by Dice, the mean over seeds; ties are broken by name.

    Args:
        metrics: in the schema `METRICS`, of one dataset, model, condition and region.

    Returns:
        Rank → case; fewer if there are fewer cases. Those without a Dice, lost in resampling, are left out.
    """
    dice = metrics[metrics["metric"] == "dice"].groupby("case")["value"].mean().dropna().sort_index()
    order = list(dice.index[np.argsort(tie_groups(-dice.to_numpy()), kind="stable")])
    rank_positions = {rank: round(share * (len(order) - 1)) for rank, share in RANKS.items()} if order else {}
    return {
        rank: order[position]
        for position, rank in {position: rank for rank, position in rank_positions.items()}.items()
    }


def draw(cases: Sequence[Ranked], *, title: str, modalities: Mapping[str, Kind]) -> Figure:
    """Draw the axial slice with the largest reference area, one row per case, one column per modality, with contours.

    Args:
        cases: in the order of the rows; their grids may differ. Without any, the title stands alone.
        title: model and dataset.
        modalities: name → kind, in the order of the scans' images.
    """
    views = [
        view_of([case.row.scan], shown_slice(case.reference, [case.row.prediction]), case.spacing_mm) for case in cases
    ]
    heights_in = [PANEL_IN * view.size_mm[1] / view.size_mm[0] for view in views]
    with house_style():
        figure = new_figure(1.3 + PANEL_IN * len(modalities), 0.9 + sum(heights_in))
        if not cases:
            draw_legend(figure, title)
            return figure
        grid = figure.subplots(
            len(cases), len(modalities), squeeze=False, gridspec_kw={"height_ratios": heights_in or None}
        )
        for line, case, view in zip(grid, cases, views, strict=True):
            for channel, (axes, kind) in enumerate(zip(line, modalities.values(), strict=True)):
                draw_image(axes, case.row.scan, channel, view, window([case.row.scan], channel, kind), kind)
                draw_contours(axes, case.reference, case.row.prediction, view)
            draw_score(line[0], case.row)
            draw_orientation(line[0], view)
        for axes, modality in zip(grid[0], modalities, strict=True):
            axes.set_title(modality, fontweight="normal")
        draw_legend(figure, title)
    return figure


def picture(
    inputs: Inputs,
    *,
    dataset: str,
    model: str,
    modalities: Mapping[str, Mapping[str, Any]],
    regions: Mapping[str, list[int]],
) -> Figure:
    """The best, median and worst test case of a model under `clean`, for its first region.

    Args:
        inputs: all test cases, and a folder and a table per fold; each case is in one of them.
        dataset: for the title.
        model: likewise.
        modalities: name to its block of `config/datasets.yaml`, in channel order; `kind` is read.
        regions: region to the label values that it joins.
    """
    region, values = next(iter(regions.items()))
    table = read_tables(inputs.metrics, METRICS)
    folders = {name: folder for folder in inputs.predictions for name in _cases_in(folder, region)}
    by_name, ranked = {case.name: case for case in inputs.cases}, []
    for rank, name in ranked_cases(table[table["region"] == region]).items():
        case, reference = by_name[name], reference_of(by_name[name], values)
        row = row_of(f"{rank}: {name}", case.scan, case, folders[name], region=region, reference=reference)
        ranked.append(Ranked(row, reference, case.spacing_mm))
    scored = sum(not case.lost(values) for case in inputs.cases)
    title = f"{model} on {dataset}, {region}: best, median and worst of {scored} by Dice"
    return draw(ranked, title=title, modalities=kinds_of(modalities))


def _cases_in(folder: str, region: str) -> list[str]:
    ending = f"_{region}_probability.nii.gz"
    return [path.name.removesuffix(ending) for path in Path(folder).glob(f"*{ending}")]
