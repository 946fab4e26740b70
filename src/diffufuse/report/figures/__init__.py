"""The figures drawn from tables: a name under `figures` in `config/config.yaml` is a key of `FIGURES`."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from diffufuse.report.evidence import Evidence
from diffufuse.report.figures import (
    ablation,
    dice_by_condition,
    dice_by_noise,
    forest,
    fusion_and_dice,
    game,
    latency,
    missing_modalities,
    patients,
    precision_recall,
    reliability,
    risk_coverage,
    roc,
    training,
    transfer,
)


@dataclass(frozen=True)
class TableFigure:
    """A figure, and the table from which alone it is drawn.

    Attributes:
        data: results of a study → the figure's table; a one-row note if there is nothing to draw.
        draw: the figure's table → the figure.
    """

    data: Callable[[Evidence], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Figure]


FIGURES = {
    "dice_by_condition": TableFigure(dice_by_condition.data, dice_by_condition.draw),
    "patients": TableFigure(patients.data, patients.draw),
    "forest": TableFigure(forest.data, forest.draw),
    "dice_by_noise": TableFigure(dice_by_noise.data, dice_by_noise.draw),
    "missing_modalities": TableFigure(missing_modalities.data, missing_modalities.draw),
    "transfer": TableFigure(transfer.data, transfer.draw),
    "ablation": TableFigure(ablation.data, ablation.draw),
    "roc": TableFigure(roc.data, roc.draw),
    "precision_recall": TableFigure(precision_recall.data, precision_recall.draw),
    "reliability": TableFigure(reliability.data, reliability.draw),
    "risk_coverage": TableFigure(risk_coverage.data, risk_coverage.draw),
    "latency": TableFigure(latency.data, latency.draw),
    "fusion_and_dice": TableFigure(fusion_and_dice.data, fusion_and_dice.draw),
    "game": TableFigure(game.data, game.draw),
    "training": TableFigure(training.data, training.draw),
}
