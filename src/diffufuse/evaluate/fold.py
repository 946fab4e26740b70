"""Compare the predictions of a fold with their references, per case and in 3-D."""

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
    """Where the predictions of a fold lie, and what they are compared with.

    Attributes:
        predictions: folder with `{case}_{region}.nii.gz` and `{case}_{region}_probability.nii.gz`.
        cases: records of the prepared cases, `{case}.json`; beside each lie its labels, and its body, within which
            probabilities are judged.
        regions: region to the label values that it joins.
    """

    predictions: str | Path
    cases: Sequence[str | Path]
    regions: Mapping[str, list[int]]

    def comparisons(self, thresholds: Mapping[str, float] | None = None) -> Iterator[tuple[str, str, Comparison]]:
        """Every case and region in turn: its names, and the prediction beside the reference.

        Args:
            thresholds: of the prediction sets, by region; by default they are not known.

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
    """Every metric of every region of every case, and what was forecast of the voxels of all cases.

    Args:
        predicted: where the predictions lie.
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
            known = [forecasts[region, scope]] if (region, scope) in forecasts else []
            forecasts[region, scope] = pooled([*known, getattr(comparison, scope)])
    values = pd.DataFrame(rows, columns=METRICS_TABLE.names).astype({"fold": "int8", "seed": "int16"})
    return values, forecast_table(forecasts, names=names)


def thresholds_of(calibration: pd.DataFrame, regions: Iterable[str], *, lesion: str | None) -> dict[str, float]:
    """The threshold of each region's prediction sets, as a run's validation patients have it.

    Args:
        calibration: in the schema `CALIBRATIONS`.
        regions: those that are tested; one that the run does not know is another dataset's lesion.
        lesion: which of the run's own regions stands for that.
    """
    known: dict[str, float] = dict(zip(calibration["region"], calibration["threshold"], strict=True))
    return {region: known.get(region, known.get(lesion or "", np.nan)) for region in regions}


def forecast_table(forecasts: Mapping[tuple[str, str], Forecast], *, names: Mapping[str, Any]) -> pd.DataFrame:
    """Forecasts by region and scope as a frame in the schema `FORECASTS`."""
    frames = [
        pd.DataFrame({"level": found.level, "inside": found.inside, "outside": found.outside}).assign(
            **{**names, "region": region, "scope": scope}
        )
        for (region, scope), found in forecasts.items()
    ]
    return pd.concat(frames, ignore_index=True)[FORECASTS.names].astype({"level": "int32"})


def _on_grid(path: str | Path, labels: Volume, case: str) -> Volume:
    volume = read_volume(path)
    if not same_grid(volume, labels):
        raise BadInput(f"{path}, case {case}: expected the grid of the case's reference; predict it again.")
    return volume
