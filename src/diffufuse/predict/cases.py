"""Predict cases under a condition: a model's own dataset, or another one by what both share.

There are three kinds of networks. A segmenter predicts masks. A fuser makes a fused image. A network with `fuse` does
both: it makes the fused image, and its part `follower` predicts the masks from that image as it is saved, so that they
follow from what a reader sees.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch import nn

from diffufuse.conditions.apply import Stage, apply_condition, corrupts
from diffufuse.plan.plans import load_model, plan_modalities
from diffufuse.predict.fused_pictures import write_fused_pair, write_fused_volume
from diffufuse.predict.fusing import follower_plan, fuse_scan, fuses, only_fuses
from diffufuse.predict.inference import HALF, write_prediction
from diffufuse.predict.samples import write_samples
from diffufuse.predict.sampling import predict_sampled
from diffufuse.predict.transfer import in_trained_space, on_own_grid
from diffufuse.seeds import seed_of
from diffufuse.space.volumes import Volume
from diffufuse.store.case import PreparedCase
from diffufuse.store.fused import write_fused
from diffufuse.store.scan import Scan

Probabilities: TypeAlias = dict[str, np.ndarray]
Volumes: TypeAlias = dict[str, list[float]]
Condition: TypeAlias = Callable[..., Scan]

PICTURE = "picture"

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
            and `lesion`, its name in the other dataset. For a fuser `modalities` alone: the images of the same roles,
            in its channel order, with `kind` and `normalization`.
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

    @property
    def modalities(self) -> Mapping[str, Mapping[str, Any]]:
        """The images that are read of a case, in order."""
        return plan_modalities(self.plan) if self.transfer is None else self.transfer["modalities"]


def predict_cases(
    prediction: Prediction,
    cases: Mapping[str, PreparedCase],
    folder: Path,
    *,
    condition: Mapping[str, Any],
    study_seed: int,
    names: tuple[str, str],
) -> None:
    """Write the fused image, and the masks, probabilities and sample volumes of every case, as its network has them.

    Args:
        prediction: the model and its settings.
        cases: name to prepared case; of its images, those of the model are read.
        folder: receives the files, see `write_fused`, `write_fused_volume`, `write_fused_pair`, `write_prediction` and
            `write_samples`.
        condition: a block of `config/conditions.yaml`; empty for fused images, whose sources were under it.
        study_seed: the study's one seed.
        names: dataset and condition, which with the case determine the random numbers.

    Raises:
        BadInput: a case has none of the modalities of the model, or was prepared without one of them.
    """
    dataset, condition_name = names
    for case in cases.values():
        seen = case.selected(prediction.modalities)
        case_settings = {"spacing_mm": case.spacing_mm, "names": (dataset, case.name, condition_name)}
        apply = _condition(condition, prediction.modalities, study_seed=study_seed, **case_settings)
        seed = seed_of(study_seed, "fusion", dataset, case.name)
        if only_fuses(prediction.plan):
            _fuse(prediction, seen, apply, folder, seed=seed)
            continue
        if prediction.transfer is not None:
            predicted = _predict_other(prediction, seen, apply, **case_settings)
        elif fuses(prediction.network):
            fused = _fuse(prediction, seen, apply, folder, seed=seed)
            predicted = _predict_fused(prediction, fused, **case_settings)
        else:
            predicted = _predict_own(prediction, seen, apply, **case_settings)
        probabilities, volumes_ml = predicted
        write_prediction(probabilities, case, folder)
        write_samples(volumes_ml, case.name, folder)


def _condition(condition: Mapping[str, Any], modalities: Mapping[str, Mapping[str, Any]], **settings: Any) -> Condition:
    """Apply a condition to the images that a model reads; one that corrupts only others leaves them as they are."""
    if not any(corrupts(condition, name, block["kind"]) for name, block in modalities.items()):
        condition = {name: value for name, value in condition.items() if name != "corruption"}

    def apply(scan: Scan, after: Stage = "acquisition") -> Scan:
        return apply_condition(scan, condition, after=after, modalities=modalities, **settings)

    return apply


def _fuse(prediction: Prediction, case: PreparedCase, apply: Condition, folder: Path, *, seed: int) -> PreparedCase:
    """Write the fused image of a case; returns it as it is read back. Noise, if any, is the same in all conditions."""
    sources = prediction.modalities
    plan = {**prediction.plan, "modalities": [{"name": name, **block} for name, block in sources.items()]}
    later = partial(apply, after="normalization")
    scan = apply(case.scan)
    image, present = fuse_scan(prediction.network, scan, plan, after_normalization=later, seed=seed)
    fused = write_fused(image, present, case, folder)
    if any(block["kind"] != PICTURE for block in sources.values()):
        write_fused_volume(fused, folder)
    else:
        function = list(sources)[-1] if scan.presence[-1].any() else None
        write_fused_pair(fused, case, folder, colored_by=function)
    return fused


def _predict_fused(prediction: Prediction, fused: PreparedCase, **case_settings: Any) -> tuple[Probabilities, Volumes]:
    follower: Any = prediction.network.follower
    plan = follower_plan(prediction.plan)
    return predict_sampled(follower, fused.scan, plan, samples=prediction.samples, **case_settings)


def _predict_own(
    prediction: Prediction, case: PreparedCase, apply: Condition, **case_settings: Any
) -> tuple[Probabilities, Volumes]:
    return predict_sampled(
        prediction.network,
        apply(case.scan),
        prediction.plan,
        samples=prediction.samples,
        after_normalization=partial(apply, after="normalization"),
        **case_settings,
    )


def _predict_other(
    prediction: Prediction, case: PreparedCase, apply: Condition, **case_settings: Any
) -> tuple[Probabilities, Volumes]:
    transfer = prediction.transfer or {}
    acquired, test_modalities = case.scan, transfer["modalities"]
    case_grid = Volume(acquired.body, case.affine)
    training_space = {"trained": plan_modalities(prediction.plan), "spacing_mm": transfer["spacing_mm"]}
    model_input, grid = in_trained_space(
        apply(acquired), case_grid, case=case.name, tested=test_modalities, **training_space
    )
    settings = {"samples": prediction.samples, "spacing_mm": grid.spacing_mm, "names": case_settings["names"]}
    probabilities, volumes_ml = predict_sampled(prediction.network, model_input, prediction.plan, **settings)
    lesion, learned = transfer["lesion"], transfer["learned"]
    probability = on_own_grid(probabilities[learned], grid, case_grid)
    if (probabilities[learned] >= HALF).any() and not (probability >= HALF).any():
        log.warning("%s: of the predicted %s no voxel is left on the case's own, coarser grid", case.name, lesion)
    return {lesion: probability}, {lesion: volumes_ml[learned]}
