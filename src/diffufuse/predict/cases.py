"""Predict cases under a condition: a model's own dataset, or another one in what both have in common."""

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
from diffufuse.predict.inference import write_prediction
from diffufuse.predict.samples import write_samples
from diffufuse.predict.sampling import predict_sampled
from diffufuse.predict.transfer import in_trained_space, on_own_grid
from diffufuse.space.volumes import Volume
from diffufuse.store.case import PreparedCase
from diffufuse.store.scan import Scan

Probabilities: TypeAlias = dict[str, np.ndarray]
Volumes: TypeAlias = dict[str, list[float]]


@dataclass(frozen=True)
class Prediction:
    """A trained model and how it is asked.

    Attributes:
        network: in evaluation mode.
        plan: of its training.
        samples: how many samples are drawn for one prediction.
        transfer: None for the dataset that it was trained on. For another one: `modalities`, name to its block, with
            `kind` and `like`; `spacing_mm` of the training; `learned`, the region that the model learned, and
            `lesion`, what the other dataset calls it.
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
        """Load a model; `settings` of its architecture are those that differ at test time."""
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
    """Write masks, probabilities and the volumes of samples of every case.

    Args:
        prediction: the model and how it is asked.
        cases: name to prepared case.
        folder: receives the files, see `write_prediction` and `write_samples`.
        condition: a block of `config/conditions.yaml`.
        study_seed: the study's one seed.
        names: dataset and condition, to which the random numbers belong beside the case.

    Raises:
        BadInput: a case has nothing that the model could look at.
    """
    dataset, condition_name = names
    predict = _predict_own if prediction.transfer is None else _predict_other
    for case in cases.values():
        drawn = {"spacing_mm": case.spacing_mm, "names": (dataset, case.name, condition_name)}
        probabilities, volumes_ml = predict(prediction, case, condition, study_seed=study_seed, **drawn)
        write_prediction(probabilities, case, folder)
        write_samples(volumes_ml, case.name, folder)


def _predict_own(
    prediction: Prediction, case: PreparedCase, condition: Mapping[str, Any], *, study_seed: int, **drawn: Any
) -> tuple[Probabilities, Volumes]:
    modalities = plan_modalities(prediction.plan)

    def under(scan: Scan, after: Stage = "acquisition") -> Scan:
        applied = {"modalities": modalities, "study_seed": study_seed, **drawn}
        return apply_condition(scan, condition, after=after, **applied)

    return predict_sampled(
        prediction.network,
        under(case.scan),
        prediction.plan,
        samples=prediction.samples,
        after_normalization=partial(under, after="normalization"),
        **drawn,
    )


def _predict_other(
    prediction: Prediction, case: PreparedCase, condition: Mapping[str, Any], *, study_seed: int, **drawn: Any
) -> tuple[Probabilities, Volumes]:
    transfer = prediction.transfer or {}
    acquired, tested = case.scan, transfer["modalities"]
    scan = apply_condition(acquired, condition, modalities=tested, study_seed=study_seed, **drawn)
    own_grid = Volume(acquired.body, case.affine)
    trained = {"trained": plan_modalities(prediction.plan), "spacing_mm": transfer["spacing_mm"]}
    seen, grid = in_trained_space(scan, own_grid, case=case.name, tested=tested, **trained)
    sampled = {"samples": prediction.samples, "spacing_mm": grid.spacing_mm, "names": drawn["names"]}
    probabilities, volumes_ml = predict_sampled(prediction.network, seen, prediction.plan, **sampled)
    lesion, learned = transfer["lesion"], transfer["learned"]
    return {lesion: on_own_grid(probabilities[learned], grid, own_grid)}, {lesion: volumes_ml[learned]}
