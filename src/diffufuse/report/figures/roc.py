"""ROC curves: which share of a region is found, at the price of which share of what lies around it."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.metrics.discrimination import auc, roc_curve
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import curves, parts
from diffufuse.report.style import MEDIUM

KIND = curves.Kind(roc_curve, auc, "false_positive_rate", "true_positive_rate", "default", lambda _: 0.0)


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table, as `curves.data` has it."""
    return curves.data(evidence, KIND)


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw the ROC curves of all models, one panel per region and group of models.

    Args:
        table: as returned by `data`.
    """
    return curves.draw(table, KIND, constant=_diagonal, meaning="dotted: a constant forecast")


def _diagonal(axes: Axes, part: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color=MEDIUM, linestyle=":", linewidth=0.8)
