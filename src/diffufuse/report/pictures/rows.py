"""Rows of pictures: a case with one of its predictions."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffufuse.metrics.comparison import Comparison
from diffufuse.metrics.overlap import dice
from diffufuse.metrics.surface import hd95
from diffufuse.report.pictures.panels import View, draw_contour
from diffufuse.report.style import PALETTE
from diffufuse.space.volumes import read_result
from diffufuse.store.case import PreparedCase
from diffufuse.store.scan import Scan
from diffufuse.types import Mask

REFERENCE, PREDICTION = PALETTE[4], PALETTE[5]


@dataclass(frozen=True)
class Row:
    """A case under one condition, with its prediction.

    Attributes:
        condition: name of the condition.
        scan: the images as given to the model.
        prediction: (X, Y, Z) boolean.
        dice: of the prediction, 0..1 or NaN.
        hd95_mm: of the prediction, mm or NaN.
    """

    condition: str
    scan: Scan
    prediction: Mask
    dice: float
    hd95_mm: float


def row_of(
    title: str,
    scan: Scan,
    case: PreparedCase,
    predictions: str | os.PathLike[str],
    *,
    region: str,
    reference: Mask,
    lost: bool = False,
) -> Row:
    """A row of a case.

    Args:
        title: label of the row.
        scan: the case as given to the model.
        case: the prepared case.
        predictions: folder that holds its prediction.
        region: name of the region.
        reference: (X, Y, Z) boolean.
        lost: whether the region was lost in resampling; the prediction then has no score.
    """
    mask = read_result(Path(predictions) / f"{case.name}_{region}.nii.gz", remove=predictions).array > 0
    if lost:
        return Row(title, scan, mask, dice=math.nan, hd95_mm=math.nan)
    comparison = Comparison(mask, reference, case.spacing_mm)
    distance_mm = hd95(comparison.surface, penalty_mm=comparison.penalty_mm)
    return Row(title, scan, mask, dice=dice(mask, reference), hd95_mm=distance_mm)


def reference_of(case: PreparedCase, values: Sequence[int]) -> Mask:
    """The voxels of a case that have one of the label values, (X, Y, Z)."""
    return np.isin(case.slices.labels(slice(None)).transpose(1, 2, 0), values)


def draw_contours(axes: Axes, reference: Mask, prediction: Mask, view: View) -> None:
    """Draw the contours of the reference and, on top, of the prediction."""
    draw_contour(axes, reference, view, color=REFERENCE, width_pt=1.8)
    draw_contour(axes, prediction, view, color=PREDICTION, width_pt=0.9)


def draw_score(axes: Axes, row: Row) -> None:
    """Label a row with its condition and the scores of the prediction."""
    dice = "undefined" if math.isnan(row.dice) else f"{row.dice:.3f}"
    hd95 = "undefined" if math.isnan(row.hd95_mm) else f"{row.hd95_mm:.1f} mm"
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right", "fontsize": 7}
    axes.annotate(row.condition, (0, 0.5), (-6, 3), va="bottom", fontweight="bold", **place)
    note = "" if row.prediction.any() else "\nnothing predicted"
    axes.annotate(f"Dice {dice}\nHD95 {hd95}{note}", (0, 0.5), (-6, 0), va="top", **place)


def draw_legend(figure: Figure, title: str) -> None:
    """Add a title, and a legend of the contours."""
    figure.suptitle(title, fontsize=8, fontweight="bold")
    lines = [
        Line2D([], [], color=REFERENCE, linewidth=1.8, label="reference"),
        Line2D([], [], color=PREDICTION, linewidth=0.9, label="prediction"),
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=2, frameon=False, fontsize=7)
