"""Post-hoc calibration on a run's validation patients: temperature scaling, and the threshold of prediction sets.

A temperature divides every logit: probabilities become more (below 1) or less (above 1) confident, and masks do not
change, as one half stays one half. It is fitted on the validation patients of the same fold, not on test patients.

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
from diffufuse.evaluate.predicted import Predicted
from diffufuse.evaluate.schemas import CALIBRATIONS
from diffufuse.files.atomic import atomic_path
from diffufuse.files.tree import is_hidden
from diffufuse.metrics.calibration import CLIP, nll
from diffufuse.metrics.conformal import conformal_threshold
from diffufuse.metrics.forecast import Forecast
from diffufuse.predict.samples import read_samples
from diffufuse.space.volumes import read_result, write_probability

COLDEST, HOTTEST = 0.05, 20.0
PROBABILITY = "_probability.nii.gz"
FUSED_VOLUME = "_fused.nii.gz"


def scaled(probability: Float[np.ndarray, "*shape"], temperature: float) -> Float[np.ndarray, "*shape"]:
    """Temperature-scaled probabilities: sigmoid(logit(p) / T).

    Args:
        probability: 0..1; clipped to 1e-7..1 - 1e-7.
        temperature: T > 0.

    Returns:
        In the dtype given; at least one half where it was before.
    """
    scaled_probability = expit(logit(np.clip(probability, CLIP, 1 - CLIP, dtype=np.float64)) / temperature)
    return np.where(probability >= 0.5, np.maximum(scaled_probability, 0.5), scaled_probability).astype(
        np.asarray(probability).dtype
    )


def fit_temperature(forecasts: Sequence[Forecast]) -> float:
    """The maximum-likelihood temperature: it minimizes the mean NLL over patients.

    Args:
        forecasts: one per validation patient; those without a voxel are left out.

    Returns:
        0.05..20; NaN without a voxel.
    """
    nonempty = [forecast for forecast in forecasts if forecast.voxels]
    if not nonempty:
        return math.nan
    result = minimize_scalar(
        lambda log_t: _mean_nll(nonempty, math.exp(log_t)),
        bounds=(math.log(COLDEST), math.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(result.x)


def fit_calibration(predicted: Predicted, *, scaling: str, names: Mapping[str, Any]) -> pd.DataFrame:
    """Temperature and conformal threshold of each region, fitted on a run's validation patients.

    Args:
        predicted: the run's predictions of its validation cases, unscaled.
        scaling: `none`, or `temperature` if the run is reported with scaled probabilities; the threshold then
            refers to the scaled ones. A temperature keeps the order, so the sets are the same.
        names: dataset, model, fold, seed.

    Returns:
        Columns of `CALIBRATIONS`; NaN without validation patients. Those whose region was lost in resampling are left
        out, as nobody knows which of their voxels belong to it.
    """
    forecasts_of: dict[str, list[Forecast]] = {region: [] for region in predicted.regions}
    for _, region, comparison in predicted.comparisons():
        if not comparison.lost:
            forecasts_of[region].append(comparison.near)
    rows = []
    for region, forecasts in forecasts_of.items():
        temperature, threshold = fit_temperature(forecasts), conformal_threshold(forecasts)
        nonempty = [forecast for forecast in forecasts if forecast.voxels]
        rows.append(
            {
                **names,
                "region": region,
                "patients": len(nonempty),
                "temperature": temperature,
                "nll_before": _mean_nll(nonempty, 1.0),
                "nll_after": _mean_nll(nonempty, temperature),
                "threshold": float(scaled(np.array([threshold]), temperature)[0]) if scaling != "none" else threshold,
            }
        )
    return pd.DataFrame(rows)[CALIBRATIONS.names].astype({"fold": "int8", "seed": "int16", "patients": "int32"})


def scale_predictions(predictions: str | Path, folder: Path, *, calibration: pd.DataFrame, lesion: str | None) -> None:
    """Write the predictions of a run with temperature-scaled probabilities.

    Args:
        predictions: folder written by `inference.write_prediction`.
        folder: where to write; masks and samples are copied. Fused images stay with the unscaled run.
        calibration: of the run, in the schema `CALIBRATIONS`.
        lesion: the run's region that corresponds to the lesion of another dataset.

    Raises:
        BadInput: the fold had no validation patients, so that there is no temperature.
    """
    temperatures: dict[str, float] = dict(zip(calibration["region"], calibration["temperature"], strict=True))
    files = [path for path in Path(predictions).iterdir() if path.is_file() and not is_hidden(path.name)]
    for path in sorted(path for path in files if not path.name.endswith(FUSED_VOLUME)):
        if path.name.endswith(PROBABILITY):
            region = path.name.removesuffix(PROBABILITY).rpartition("_")[2]
            temperature = temperatures.get(region, temperatures.get(lesion or "", math.nan))
            _require_temperature(temperature, path)
            volume = read_result(path, remove=predictions)
            write_probability(volume.with_array(scaled(volume.array, temperature)), folder / path.name)
        else:
            _require_whole(path)
            with atomic_path(folder / path.name) as partial:
                partial.write_bytes(path.read_bytes())


def _require_whole(path: Path) -> None:
    """Refuse damage before it is copied, as the copy's reader could not say where it came from."""
    if path.suffix == ".json":
        read_samples(path)
    else:
        read_result(path, remove=path.parent)


def _require_temperature(temperature: float, path: Path) -> None:
    if math.isnan(temperature):
        raise BadInput(
            f"{path}: expected a temperature to scale it by, but the fold has no validation patients with voxels to "
            "fit it on; give it some in the cohort sheet (column validates), or leave the scaled model out."
        )


def _mean_nll(forecasts: Sequence[Forecast], temperature: float) -> float:
    if not forecasts or math.isnan(temperature):
        return math.nan
    return float(np.mean([_nll_at(forecast, temperature) for forecast in forecasts]))


def _nll_at(forecast: Forecast, temperature: float) -> float:
    if temperature == 1.0:
        return nll(forecast)
    p = np.clip(forecast.probability, CLIP, 1 - CLIP)
    scaled_logit = logit(p) / temperature
    # -ln sigmoid(x) = ln(1 + e^-x), which neither overflows nor loses precision close to certainty
    total = forecast.inside @ np.logaddexp(0, -scaled_logit) + forecast.outside @ np.logaddexp(0, scaled_logit)
    return float(total) / forecast.voxels
