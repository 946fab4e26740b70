"""What validation patients say of a run's probabilities: one temperature, and the threshold of its prediction sets.

A temperature divides every logit, so it makes a forecast bolder (below 1) or more careful (above 1) and moves no mask:
one half stays one half. It is fitted on the validation patients of the same fold, whom the test patients never meet.

Source:
    Guo et al. 2017, arXiv:1706.04599; around the structure as Mehrtash et al. 2020, arXiv:1911.13273.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from diffufuse.errors import BadInput
from diffufuse.evaluate.fold import Predicted
from diffufuse.evaluate.schemas import CALIBRATIONS
from diffufuse.files.atomic import atomic_path
from diffufuse.metrics.calibration import CLIP, nll
from diffufuse.metrics.conformal import conformal_threshold
from diffufuse.metrics.forecast import Forecast
from diffufuse.space.volumes import read_volume, write_probability

COLDEST, HOTTEST = 0.05, 20.0
PROBABILITY = "_probability.nii.gz"


def scaled(probability: Float[np.ndarray, "*shape"], temperature: float) -> Float[np.ndarray, "*shape"]:
    """Probabilities after a temperature: sigmoid(logit(p) / T).

    Args:
        probability: 0..1; a certainty beyond 1e-7 counts as 1e-7.
        temperature: T > 0.

    Returns:
        In the precision given; at least one half where it was.
    """
    found = expit(logit(np.clip(probability, CLIP, 1 - CLIP, dtype=np.float64)) / temperature)
    return np.where(probability >= 0.5, np.maximum(found, 0.5), found).astype(np.asarray(probability).dtype)


def fit_temperature(forecasts: Sequence[Forecast]) -> float:
    """The temperature under which the truth is likeliest: it minimizes the mean over patients of their NLL.

    Args:
        forecasts: one per validation patient; those without a voxel are left out.

    Returns:
        0.05..20; NaN without a voxel.
    """
    known = [forecast for forecast in forecasts if forecast.voxels]
    if not known:
        return math.nan
    found = minimize_scalar(
        lambda log_t: _mean_nll(known, math.exp(log_t)),
        bounds=(math.log(COLDEST), math.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(found.x)


def fit_calibration(predicted: Predicted, *, scaling: str, names: Mapping[str, Any]) -> pd.DataFrame:
    """What a run's validation patients say of the probabilities near each region.

    Args:
        predicted: the run's predictions of its validation cases, unscaled.
        scaling: `none`, or `temperature` if the run is reported with scaled probabilities; its threshold is then that
            of the scaled ones. As a temperature keeps the order, the sets are the same.
        names: dataset, model, fold, seed.

    Returns:
        Columns of `CALIBRATIONS`; NaN without validation patients.
    """
    found: dict[str, list[Forecast]] = {region: [] for region in predicted.regions}
    for _, region, comparison in predicted.comparisons():
        found[region].append(comparison.near)
    rows = []
    for region, forecasts in found.items():
        temperature, threshold = fit_temperature(forecasts), conformal_threshold(forecasts)
        known = [forecast for forecast in forecasts if forecast.voxels]
        rows.append(
            {
                **names,
                "region": region,
                "patients": len(known),
                "temperature": temperature,
                "nll_before": _mean_nll(known, 1.0),
                "nll_after": _mean_nll(known, temperature),
                "threshold": float(scaled(np.array([threshold]), temperature)[0]) if scaling != "none" else threshold,
            }
        )
    return pd.DataFrame(rows)[CALIBRATIONS.names].astype({"fold": "int8", "seed": "int16", "patients": "int32"})


def scale_predictions(predictions: str | Path, folder: Path, *, calibration: pd.DataFrame, lesion: str | None) -> None:
    """Write the predictions of a run again, with the probabilities of each region after its temperature.

    Args:
        predictions: folder as `inference.write_prediction` fills it.
        folder: where to write; masks and samples are those of `predictions`.
        calibration: of the run, in the schema `CALIBRATIONS`.
        lesion: which of the run's regions stands for one that it does not know, another dataset's lesion.

    Raises:
        BadInput: the fold had no validation patients, so that there is no temperature.
    """
    known: dict[str, float] = dict(zip(calibration["region"], calibration["temperature"], strict=True))
    for path in sorted(Path(predictions).iterdir()):
        if path.name.endswith(PROBABILITY):
            region = path.name.removesuffix(PROBABILITY).rpartition("_")[2]
            temperature = known.get(region, known.get(lesion or "", math.nan))
            _require_temperature(temperature, path)
            volume = read_volume(path)
            write_probability(volume.with_array(scaled(volume.array, temperature)), folder / path.name)
        else:
            with atomic_path(folder / path.name) as partial:
                partial.write_bytes(path.read_bytes())


def _require_temperature(temperature: float, path: Path) -> None:
    if math.isnan(temperature):
        raise BadInput(
            f"{path}: expected a temperature to scale it by, but the fold has no validation patients; give it some in "
            "the cohort sheet (column validates), or leave the scaled model out."
        )


def _mean_nll(forecasts: Sequence[Forecast], temperature: float) -> float:
    if not forecasts or math.isnan(temperature):
        return math.nan
    return float(np.mean([_nll_at(forecast, temperature) for forecast in forecasts]))


def _nll_at(forecast: Forecast, temperature: float) -> float:
    if temperature == 1.0:
        return nll(forecast)
    p = np.clip(forecast.probability, CLIP, 1 - CLIP)
    raised = logit(p) / temperature
    # -ln sigmoid(x) = ln(1 + e^-x), which neither overflows nor loses what is close to certain
    total = forecast.inside @ np.logaddexp(0, -raised) + forecast.outside @ np.logaddexp(0, raised)
    return float(total) / forecast.voxels
