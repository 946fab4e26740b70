"""Evaluate the predictions of a fold against their references, per case and in 3-D."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from diffufuse.evaluate.predicted import Predicted
from diffufuse.evaluate.schemas import FORECASTS, metrics_frame
from diffufuse.metrics.catalogue import METRICS, evaluate
from diffufuse.metrics.forecast import Forecast, pooled

SCOPES = ("near", "body")

log = logging.getLogger(__name__)


def evaluate_fold(
    predicted: Predicted, *, thresholds: Mapping[str, float], names: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every metric of every case and region, and the forecasts summed over all cases; of a fuser, nothing.

    Args:
        predicted: the predictions.
        thresholds: of the prediction sets, by region, from the run's validation patients.
        names: dataset, condition, trained_on, model, fold, seed of the predictions.

    Returns:
        Columns of `METRICS`, an undefined value is NaN; and columns of `FORECASTS`, summed over cases. A region that
        was lost in resampling has no value but `lost`, and no forecast.

    Raises:
        BadInput: a prediction or body is missing or does not lie on its reference's grid.
    """
    rows: list[dict[str, Any]] = []
    forecasts: dict[tuple[str, str], Forecast] = {}
    for case, region, comparison in predicted.comparisons(thresholds):
        rows += [
            {**names, "case": case, "region": region, "metric": name, "value": value, "unit": METRICS[name].unit}
            for name, value in evaluate(comparison).items()
        ]
        if comparison.lost:
            log.warning("%s: %s was lost in resampling and is not scored", case, region)
        for scope in SCOPES:
            earlier = [forecasts[region, scope]] if (region, scope) in forecasts else []
            added = [] if comparison.lost else [getattr(comparison, scope)]
            forecasts[region, scope] = pooled([*earlier, *added])
    return metrics_frame(rows), forecast_table(forecasts, names=names)


def thresholds_of(calibration: pd.DataFrame, regions: Iterable[str], *, lesion: str | None) -> dict[str, float]:
    """The threshold of each region's prediction sets, from a run's validation patients.

    Args:
        calibration: in the schema `CALIBRATIONS`.
        regions: the tested regions; one without a row in `calibration` is the lesion of another dataset.
        lesion: the run's own region that corresponds to it.
    """
    thresholds: dict[str, float] = dict(zip(calibration["region"], calibration["threshold"], strict=True))
    return {region: thresholds.get(region, thresholds.get(lesion or "", np.nan)) for region in regions}


def forecast_table(forecasts: Mapping[tuple[str, str], Forecast], *, names: Mapping[str, Any]) -> pd.DataFrame:
    """Forecasts by region and scope as a frame in the schema `FORECASTS`; without any, one without rows."""
    if not forecasts:
        return FORECASTS.empty_table().to_pandas()
    frames = [
        pd.DataFrame({"level": forecast.level, "inside": forecast.inside, "outside": forecast.outside}).assign(
            **{**names, "region": region, "scope": scope}
        )
        for (region, scope), forecast in forecasts.items()
    ]
    return pd.concat(frames, ignore_index=True)[FORECASTS.names].astype({"level": "int32"})
