"""Input and prediction of one case: one row per condition, one column per modality."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from diffufuse.conditions.apply import apply_condition
from diffufuse.report.pictures.inputs import Inputs
from diffufuse.report.pictures.panels import (
    UNITS,
    Kind,
    draw_image,
    draw_orientation,
    kinds_of,
    shown_slice,
    view_of,
    window,
)
from diffufuse.report.pictures.rows import Row, draw_contours, draw_legend, draw_score, reference_of, row_of
from diffufuse.report.style import house_style, new_figure
from diffufuse.space.volumes import Volume

PANEL_IN = 1.9


def draw(rows: Sequence[Row], reference: Volume, *, case: str, modalities: Mapping[str, Kind]) -> Figure:
    """Draw the axial slice with the largest reference area under every condition, with both contours.

    A modality has the same gray scale under all conditions. Where a modality is absent or outside its field of view,
    the panel is hatched. The patient's right is on the left.

    Args:
        rows: one per condition, all on the reference's grid.
        reference: boolean or 0/1, right-anterior-superior.
        case: name of the case.
        modalities: name → kind, in the order of the scans' images.

    Returns:
        A figure with one row per condition, one column per modality.

    Raises:
        ValueError: there is no row, or a row has another number of modalities or another grid.
    """
    _require_consistent(rows, reference, modalities)
    mask = reference.array.astype(bool)
    scans = [row.scan for row in rows]
    view = view_of(scans, shown_slice(mask, [row.prediction for row in rows]), reference.spacing_mm)
    with house_style():
        panel_height_in = PANEL_IN * view.size_mm[1] / view.size_mm[0]
        figure = new_figure(1.0 + PANEL_IN * len(modalities), 0.9 + panel_height_in * len(rows))
        grid = figure.subplots(len(rows), len(modalities), squeeze=False)
        for channel, (modality, kind) in enumerate(modalities.items()):
            limits = window(scans, channel, kind)
            low, high = (f"{limit:.3g}" if kind == "pet" else f"{limit:.0f}" for limit in limits)
            grid[0, channel].set_title(f"{modality}\n{low} to {high} {UNITS[kind]}", fontsize=7, fontweight="normal")
            for axes, row in zip(grid[:, channel], rows, strict=True):
                draw_image(axes, row.scan, channel, view, limits, kind)
                draw_contours(axes, mask, row.prediction, view)
        for axes, row in zip(grid[:, 0], rows, strict=True):
            draw_score(axes, row)
        draw_orientation(grid[0, 0], view)
        draw_legend(figure, f"{case}, axial slice {view.level + 1} of {mask.shape[2]}")
    return figure


def _require_consistent(rows: Sequence[Row], reference: Volume, modalities: Mapping[str, Kind]) -> None:
    if not rows or not modalities:
        raise ValueError("rows, modalities: expected at least one of each")
    for row in rows:
        if row.scan.images.shape != (len(modalities), *reference.shape):
            expected = (len(modalities), *reference.shape)
            raise ValueError(f"rows: expected images of shape {expected}, got {row.scan.images.shape}")
        if row.prediction.shape != reference.shape:
            raise ValueError(f"rows: expected predictions of shape {reference.shape}, got {row.prediction.shape}")


def picture(
    inputs: Inputs,
    *,
    dataset: str,
    model: str,
    modalities: Mapping[str, Mapping[str, Any]],
    regions: Mapping[str, list[int]],
    conditions: Mapping[str, Mapping[str, Any]],
    study_seed: int,
) -> Figure:
    """One test case with its reference and a model's predictions under several conditions; for its first region.

    Args:
        inputs: the case, and a folder for each condition, in their order.
        dataset: name of the dataset, for the random numbers.
        model: not used.
        modalities: name to its block of `config/datasets.yaml`, in channel order; `kind` is read.
        regions: region to the label values that it joins.
        conditions: name to its block of `config/conditions.yaml`.
        study_seed: seed of the study.
    """
    [case], (region, values) = inputs.cases, next(iter(regions.items()))
    reference, lost = reference_of(case, values), case.lost(values)
    settings: dict[str, Any] = {"modalities": modalities, "spacing_mm": case.spacing_mm, "study_seed": study_seed}
    rows = []
    for (name, block), folder in zip(conditions.items(), inputs.predictions, strict=True):
        scan = apply_condition(case.scan, block, names=(dataset, case.name, name), **settings)
        rows.append(row_of(name, scan, case, folder, region=region, reference=reference, lost=lost))
    title = f"{case.name}, {region}, lost in resampling" if lost else f"{case.name}, {region}"
    return draw(rows, Volume(reference, case.affine), case=title, modalities=kinds_of(modalities))
