"""Uncertainty of a prediction: images, probability and predictive entropy of a case."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.metrics.calibration import entropy_bits
from diffufuse.report.pictures.inputs import Inputs
from diffufuse.report.pictures.panels import (
    Kind,
    View,
    draw_image,
    draw_orientation,
    kinds_of,
    shown_slice,
    view_of,
    window,
)
from diffufuse.report.pictures.rows import draw_contours, draw_legend, reference_of
from diffufuse.report.style import house_style, new_figure
from diffufuse.space.volumes import read_result
from diffufuse.store.scan import Scan
from diffufuse.types import Image, Mask, Spacing

PANEL_IN = 2.0
PROBABILITY_COLORS = "cividis"  # perceptually uniform and color-blind safe
UNCERTAINTY_COLORS = "magma"


def draw(
    scan: Scan,
    reference: Mask,
    probability: Image,
    uncertainty_bits: Image,
    *,
    spacing_mm: Spacing,
    case: str,
    modalities: Mapping[str, Kind],
) -> Figure:
    """Draw the axial slice with the largest reference area: every modality, then probability and uncertainty.

    Args:
        scan: the images as given to the model.
        reference: boolean, (X, Y, Z).
        probability: 0..1.
        uncertainty_bits: entropy of the probability, 0..1 bit.
        spacing_mm: voxel size.
        case: text for the title.
        modalities: name → kind, in the order of the scan's images.

    Returns:
        A figure with one row.
    """
    mask = probability >= 0.5
    view = view_of([scan], shown_slice(reference, [mask]), spacing_mm)
    with house_style():
        height_in = PANEL_IN * view.size_mm[1] / view.size_mm[0]
        figure = new_figure(0.4 + PANEL_IN * (len(modalities) + 2.3), 1.1 + height_in)
        panels = figure.subplots(1, len(modalities) + 2, squeeze=False)[0]
        for channel, (modality, kind) in enumerate(modalities.items()):
            draw_image(panels[channel], scan, channel, view, window([scan], channel, kind), kind)
            panels[channel].set_title(modality, fontweight="normal")
        _draw_map(figure, panels[-2], probability, view, colors=PROBABILITY_COLORS, title="probability", unit="1")
        _draw_map(
            figure, panels[-1], uncertainty_bits, view, colors=UNCERTAINTY_COLORS, title="uncertainty", unit="bit"
        )
        for axes in panels:
            draw_contours(axes, reference, mask, view)
        draw_orientation(panels[0], view)
        draw_legend(figure, f"{case}, axial slice {view.level + 1} of {mask.shape[2]}")
    return figure


def _draw_map(figure: Figure, axes: Axes, values: Image, view: View, *, colors: str, title: str, unit: str) -> None:
    width, height = view.size_mm
    shown = axes.imshow(
        view.cut(values),
        cmap=colors,
        vmin=0,
        vmax=1,
        origin="lower",
        extent=(0, width, 0, height),
        interpolation="nearest",
    )
    axes.set(xlim=(width, 0), ylim=(0, height), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontweight="normal")
    bar = figure.colorbar(shown, ax=axes, fraction=0.04, pad=0.02, ticks=np.linspace(0, 1, 3))
    bar.set_label(unit, fontsize=6, labelpad=1)
    bar.ax.tick_params(labelsize=6)


def picture(
    inputs: Inputs,
    *,
    dataset: str,
    model: str,
    modalities: Mapping[str, Mapping[str, Any]],
    regions: Mapping[str, list[int]],
) -> Figure:
    """Uncertainty of a model on one test case under `clean`, for its first region.

    Args:
        inputs: the case, and the folder of its prediction.
        dataset: not used.
        model: for the title.
        modalities: name to its block of `config/datasets.yaml`, in channel order; `kind` is read.
        regions: region to the label values that it joins.
    """
    [case], [folder], (region, values) = inputs.cases, inputs.predictions, next(iter(regions.items()))
    probability = read_result(Path(folder) / f"{case.name}_{region}_probability.nii.gz", remove=folder).array
    name = f"{case.name}, {region}, lost in resampling" if case.lost(values) else f"{case.name}, {region}"
    return draw(
        case.scan,
        reference_of(case, values),
        probability,
        entropy_bits(probability).astype(np.float32),
        spacing_mm=case.spacing_mm,
        case=f"{name}, {model}",
        modalities=kinds_of(modalities),
    )
