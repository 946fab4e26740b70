"""ROC curves."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffufuse.metrics.discrimination import auc, roc_curve
from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import curves, parts
from diffufuse.report.style import MEDIUM

KIND = curves.Kind(roc_curve, auc, "false_positive_rate", "true_positive_rate", "default", lambda _: 0.0)


def data(evidence: Evidence) -> pd.DataFrame:
    """The figure's table, from `curves.data`."""
    return curves.data(evidence, KIND)


@parts.drawn
def draw(table: pd.DataFrame) -> Figure:
    """Draw the ROC curves of all models, one panel per region and group of models.

    Args:
        table: from `data`.
    """
    return curves.draw(table, KIND, constant=_diagonal, meaning="dotted: a constant forecast")


def _diagonal(axes: Axes, part: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color=MEDIUM, linestyle=":", linewidth=0.8)
