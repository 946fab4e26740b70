"""Evaluate the predictions of a fold against their references, per case and in 3-D."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diffufuse.errors import BadInput
from diffufuse.evaluate.schemas import FORECASTS
from diffufuse.evaluate.schemas import METRICS as METRICS_TABLE
from diffufuse.metrics.catalogue import METRICS, evaluate
from diffufuse.metrics.comparison import Comparison
from diffufuse.metrics.forecast import Forecast, pooled
from diffufuse.predict.samples import read_samples
from diffufuse.space.volumes import Volume, read_volume, same_grid
from diffufuse.store.case import beside

SCOPES = ("near", "body")


@dataclass(frozen=True)
class Predicted:
    """The predictions of a fold and the files of their references.

    Attributes:
        predictions: folder with `{case}_{region}.nii.gz` and `{case}_{region}_probability.nii.gz`.
        cases: records of the prepared cases, `{case}.json`; next to each its labels and its body, within which
            probabilities are evaluated.
        regions: region to the label values that it joins.
    """

    predictions: str | Path
    cases: Sequence[str | Path]
    regions: Mapping[str, list[int]]

    def comparisons(self, thresholds: Mapping[str, float] | None = None) -> Iterator[tuple[str, str, Comparison]]:
        """Iterate over cases and regions: case, region, and the comparison of prediction and reference.

        Args:
            thresholds: of the prediction sets, by region; by default NaN.

        Raises:
            BadInput: a prediction or body is missing or does not lie on its reference's grid.
        """
        for record in self.cases:
            case, labels = Path(record).stem, read_volume(beside(record, "_labels.nii.gz"))
            body = _on_grid(beside(record, "_body.nii.gz"), labels, case).array > 0
            for region, values in self.regions.items():
                stem = Path(self.predictions) / f"{case}_{region}"
                yield (
                    case,
                    region,
                    Comparison(
                        _on_grid(f"{stem}.nii.gz", labels, case).array > 0,
                        np.isin(labels.array, values),
                        labels.spacing_mm,
                        probability=_on_grid(f"{stem}_probability.nii.gz", labels, case).array,
                        inside=body,
                        threshold=(thresholds or {}).get(region, np.nan),
                        samples_ml=read_samples(f"{stem}_samples.json"),
                    ),
                )


def evaluate_fold(
    predicted: Predicted, *, thresholds: Mapping[str, float], names: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every metric of every case and region, and the forecasts summed over all cases.

    Args:
        predicted: the predictions.
        thresholds: of the prediction sets, by region, from the run's validation patients.
        names: dataset, condition, trained_on, model, fold, seed of the predictions.

    Returns:
        Columns of `METRICS`, an undefined value is NaN; and columns of `FORECASTS`, summed over cases.

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
        for scope in SCOPES:
            earlier = [forecasts[region, scope]] if (region, scope) in forecasts else []
            forecasts[region, scope] = pooled([*earlier, getattr(comparison, scope)])
    values = pd.DataFrame(rows, columns=METRICS_TABLE.names).astype({"fold": "int8", "seed": "int16"})
    return values, forecast_table(forecasts, names=names)


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
    """Forecasts by region and scope as a frame in the schema `FORECASTS`."""
    frames = [
        pd.DataFrame({"level": forecast.level, "inside": forecast.inside, "outside": forecast.outside}).assign(
            **{**names, "region": region, "scope": scope}
        )
        for (region, scope), forecast in forecasts.items()
    ]
    return pd.concat(frames, ignore_index=True)[FORECASTS.names].astype({"level": "int32"})


def _on_grid(path: str | Path, labels: Volume, case: str) -> Volume:
    volume = read_volume(path)
    if not same_grid(volume, labels):
        raise BadInput(f"{path}, case {case}: expected the grid of the case's reference; predict it again.")
    return volume
