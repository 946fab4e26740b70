"""The figures drawn from tables: a name under `figures` in `config/config.yaml` is a key of `FIGURES`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from diffufuse.figures import dice_by_condition


@dataclass(frozen=True)
class TableFigure:
    """A figure and the table beside it, from which alone it is drawn.

    Attributes:
        data: (metrics table, case → patient, the study's seed) → the figure's table.
        draw: the figure's table → the figure.
    """

    data: Callable[[pd.DataFrame, Mapping[str, str], int], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Figure]


FIGURES = {
    "dice_by_condition": TableFigure(dice_by_condition.data, dice_by_condition.draw),
}
