"""Plans: all settings of a run, sufficient to repeat its training and to load its weights."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from diffufuse.files.sealed import BLANK, CHECKSUM, not_as_written, read_sealed, write_sealed
from diffufuse.models import build_model
from diffufuse.plan.constants import with_constants
from diffufuse.plan.outputs import Outputs
from diffufuse.seeds import seed_of
from diffufuse.study.cohorts import Cohort

WEIGHTS = "weights.safetensors"
WHAT = "the weights of this plan"


def make_plan(
    cohort: Cohort,
    *,
    dataset: str,
    model: str,
    fold: int | str,
    seed: int | str,
    study_seed: int,
    block: Mapping[str, Any],
    modalities: Mapping[str, Any],
    constants: Mapping[str, Any],
    regions: Mapping[str, list[int]],
    conditions: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The plan of a run: all of its settings, sufficient to repeat it without the config.

    Args:
        cohort: the dataset's cases and folds.
        dataset: name of the dataset that is trained on.
        model: name of the block in `config/models.yaml`.
        fold: the fold that is tested; a number, or its text in a path.
        seed: one of the study's seeds, likewise.
        study_seed: the study's one seed.
        block: the model's block.
        modalities: the dataset's modalities, in channel order.
        constants: normalization constants of the fold, from `constants.fit_constants`.
        regions: the dataset's regions, in output order.
        conditions: name to block of `config/conditions.yaml`, at least those that the model's training corrupts with.

    Returns:
        A record for `plan.json`.
    """
    fold, seed = int(fold), int(seed)
    training = cohort.training(fold)
    normalized = with_constants(modalities, constants, training_cases=training)
    return {
        "path": f"train/{dataset}/{model}/fold-{fold}_seed-{seed}",
        "dataset": dataset,
        "model": model,
        "fold": fold,
        "seed": seed,
        "study_seed": study_seed,
        "block": dict(block),
        "modalities": [{"name": name, **settings} for name, settings in normalized.items()],
        "regions": [{"name": name, "labels": values} for name, values in regions.items()],
        "corruptions": [{"name": name, **conditions[name]} for name in block["training"]["corruption"]["conditions"]],
        "training_cases": training,
        "patients": {case.name: case.patient for case in cohort.cases if case.name in set(training)},
        "split_sha256": constants["split_sha256"],
        "validation_cases": cohort.validation(fold),
    }


def plan_modalities(plan: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The modalities of a plan, in channel order."""
    return {entry["name"]: entry for entry in plan["modalities"]}


def plan_regions(plan: Mapping[str, Any]) -> dict[str, list[int]]:
    """The regions of a plan, in output order."""
    return {entry["name"]: entry["labels"] for entry in plan["regions"]}


def plan_outputs(plan: Mapping[str, Any]) -> Outputs:
    """The output channels of a plan's network."""
    return Outputs(plan["block"]["output"], plan_regions(plan))


def network_of(plan: Mapping[str, Any]) -> nn.Module:
    """The untrained network of a plan; its initial weights depend on the plan's seeds alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run_seed(plan))
        return build_model(plan["block"], modalities=len(plan["modalities"]), outputs=plan_outputs(plan).channels)


def write_weights(network: nn.Module, folder: Path) -> None:
    """Write the weights of a network as safetensors, atomically, with their checksum."""
    write_sealed(save(network.state_dict(), {CHECKSUM: BLANK}), folder / WEIGHTS)


def load_model(
    plan: Mapping[str, Any], weights: str | os.PathLike[str], *, settings: Mapping[str, Any] | None = None
) -> nn.Module:
    """The trained network of a plan, in evaluation mode, on the GPU if there is one.

    Args:
        plan: from `make_plan`.
        weights: folder with the safetensors of that plan.
        settings: of the architecture that differ at test time, e.g. uniform gates; none may change a weight's shape.

    Raises:
        BadInput: the weights are missing, damaged, without a checksum, or of another network.
    """
    block = {**plan["block"], "settings": {**plan["block"]["settings"], **(settings or {})}}
    network = network_of({**plan, "block": block})
    path = Path(weights) / WEIGHTS
    try:
        network.load_state_dict(load(read_sealed(path, WHAT, remove=weights)))
    except (SafetensorError, RuntimeError) as error:
        raise not_as_written(path, WHAT, "they are of another plan", remove=weights) from error
    return network.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def run_seed(plan: Mapping[str, Any]) -> int:
    """The seed of a run, for initial weights, slice sampling and augmentation."""
    return seed_of(plan["study_seed"], plan["dataset"], plan["model"], plan["fold"], plan["seed"])
