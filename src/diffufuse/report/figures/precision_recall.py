"""Precision-recall curves."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.metrics.discrimination import ap, precision_recall_curve
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import curves, looks, parts

KIND = curves.Kind(precision_recall_curve, ap, "recall", "precision", "steps-pre", lambda first: first)


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table, from `curves.data`."""
    return curves.data(evidence, KIND)


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw the precision-recall curves of all models, one panel per region and group of models.

    Args:
        table: from `data`.
    """
    meaning = "dotted: prevalence, the precision of a constant forecast"
    return curves.draw(table, KIND, constant=_prevalences, meaning=meaning)


def _prevalences(axes: Axes, part: pd.DataFrame) -> None:
    for _, rows, look in looks.models_of(part):
        axes.axhline(rows["prevalence"].iloc[0], color=look.color, linestyle=":", linewidth=0.8)
