"""Predict cases under a condition: a model's own dataset, or another one by the modalities that both share."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch import nn

from diffufuse.conditions.apply import Stage, apply_condition
from diffufuse.plan.plans import load_model, plan_modalities
from diffufuse.predict.inference import HALF, write_prediction
from diffufuse.predict.samples import write_samples
from diffufuse.predict.sampling import predict_sampled
from diffufuse.predict.transfer import in_trained_space, on_own_grid
from diffufuse.space.volumes import Volume
from diffufuse.store.case import PreparedCase
from diffufuse.store.scan import Scan

Probabilities: TypeAlias = dict[str, np.ndarray]
Volumes: TypeAlias = dict[str, list[float]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """A trained model and its settings for prediction.

    Attributes:
        network: in evaluation mode.
        plan: the plan of its training.
        samples: number of samples per prediction.
        transfer: None for the dataset that it was trained on. For another one: `modalities`, name to its block, with
            `kind` and `like`; `spacing_mm` of the training; `learned`, the region that the model was trained on,
            and `lesion`, its name in the other dataset.
    """

    network: nn.Module
    plan: Mapping[str, Any]
    samples: int
    transfer: Mapping[str, Any] | None

    @classmethod
    def of(
        cls,
        plan: Mapping[str, Any],
        weights: str | os.PathLike[str],
        *,
        settings: Mapping[str, Any],
        samples: int,
        transfer: Mapping[str, Any] | None,
    ) -> "Prediction":
        """Load a model; `settings` override those of its architecture at test time."""
        return cls(load_model(plan, weights, settings=settings), plan, samples, transfer)


def predict_cases(
    prediction: Prediction,
    cases: Mapping[str, PreparedCase],
    folder: Path,
    *,
    condition: Mapping[str, Any],
    study_seed: int,
    names: tuple[str, str],
) -> None:
    """Write masks, probabilities and sample volumes of every case.

    Args:
        prediction: the model and its settings.
        cases: name to prepared case.
        folder: receives the files, see `write_prediction` and `write_samples`.
        condition: a block of `config/conditions.yaml`.
        study_seed: the study's one seed.
        names: dataset and condition, which with the case determine the random numbers.

    Raises:
        BadInput: a case has none of the modalities of the model.
    """
    dataset, condition_name = names
    predict = _predict_own if prediction.transfer is None else _predict_other
    for case in cases.values():
        case_settings = {"spacing_mm": case.spacing_mm, "names": (dataset, case.name, condition_name)}
        probabilities, volumes_ml = predict(prediction, case, condition, study_seed=study_seed, **case_settings)
        write_prediction(probabilities, case, folder)
        write_samples(volumes_ml, case.name, folder)


def _predict_own(
    prediction: Prediction, case: PreparedCase, condition: Mapping[str, Any], *, study_seed: int, **case_settings: Any
) -> tuple[Probabilities, Volumes]:
    modalities = plan_modalities(prediction.plan)

    def apply(scan: Scan, after: Stage = "acquisition") -> Scan:
        settings = {"modalities": modalities, "study_seed": study_seed, **case_settings}
        return apply_condition(scan, condition, after=after, **settings)

    return predict_sampled(
        prediction.network,
        apply(case.scan),
        prediction.plan,
        samples=prediction.samples,
        after_normalization=partial(apply, after="normalization"),
        **case_settings,
    )


def _predict_other(
    prediction: Prediction, case: PreparedCase, condition: Mapping[str, Any], *, study_seed: int, **case_settings: Any
) -> tuple[Probabilities, Volumes]:
    transfer = prediction.transfer or {}
    acquired, test_modalities = case.scan, transfer["modalities"]
    scan = apply_condition(acquired, condition, modalities=test_modalities, study_seed=study_seed, **case_settings)
    case_grid = Volume(acquired.body, case.affine)
    training_space = {"trained": plan_modalities(prediction.plan), "spacing_mm": transfer["spacing_mm"]}
    model_input, grid = in_trained_space(scan, case_grid, case=case.name, tested=test_modalities, **training_space)
    settings = {"samples": prediction.samples, "spacing_mm": grid.spacing_mm, "names": case_settings["names"]}
    probabilities, volumes_ml = predict_sampled(prediction.network, model_input, prediction.plan, **settings)
    lesion, learned = transfer["lesion"], transfer["learned"]
    probability = on_own_grid(probabilities[learned], grid, case_grid)
    if (probabilities[learned] >= HALF).any() and not (probability >= HALF).any():
        log.warning("%s: of the predicted %s no voxel is left on the case's own, coarser grid", case.name, lesion)
    return {lesion: probability}, {lesion: volumes_ml[learned]}
