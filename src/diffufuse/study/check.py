"""Check the configuration of a study before anything runs."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffufuse.conditions.apply import corrupts, withheld
from diffufuse.errors import BadInput
from diffufuse.files.names import instead
from diffufuse.study.check_fusion import check_reading, check_task
from diffufuse.study.code_digest import Code
from diffufuse.study.cohorts import Cohort, patients_of, read_cohort
from diffufuse.study.condition_settings import check_condition_settings
from diffufuse.study.dataset_values import check_dataset
from diffufuse.study.inputs import condition_of, needed_fusers
from diffufuse.study.members import CORRUPTIONS, REMOVALS
from diffufuse.study.settings import check_loss, check_settings
from diffufuse.study.study_names import check_names
from diffufuse.study.testable import refusal_elsewhere, withholds_all


@dataclass(frozen=True)
class Corruptions:
    """The corruptions of the library, by name.

    Attributes:
        changing: change values.
        removing: remove voxels.
    """

    changing: Collection[str]
    removing: Collection[str]

    @classmethod
    def of(cls, code: Code) -> "Corruptions":
        """Read the registries without importing their modules."""
        return cls(code.registry(CORRUPTIONS), code.registry(REMOVALS))


def check_study(config: Mapping[str, Any], cohorts: Path, *, code: Code) -> dict[str, Cohort]:
    """Check a study, what it names in the catalogues, and its folds against the cohort sheets.

    Args:
        config: the whole configuration, validated against its schemas.
        cohorts: folder of the cohort sheets, one `{dataset}.tsv` per dataset.
        code: of the library, whose registries and signatures say what can be written.

    Returns:
        Dataset to cohort; the study's datasets first, then those of its transfers that can be scored.

    Raises:
        BadInput: a name does not exist, a value in the block of a dataset, model or condition that the study uses is
            not what is read there, a sheet is invalid, a fold has no cases, a condition refers to a modality or kind
            that a dataset does not have or withholds all that a model reads, a model refers to weights or conditions
            that do not exist, clean is not tested, a transfer dataset is in the study or shares patients with it, or
            two datasets have one case of two patients.
    """
    study = config["study"]
    check_names(config, code)
    for name in (*study["datasets"], *study.get("transfers", ())):
        check_dataset(name, config["datasets"][name])
    for name in study["conditions"]:
        check_condition_settings(name, config["conditions"][name], code)
    for name in study["models"]:
        check_model(name, config, code)
    check_reading(_trained(config), study["datasets"], config)
    read = {name: _read_sheet(name, cohorts) for name in study["datasets"]}
    for name, cohort in read.items():
        for fold in study["folds"]:
            if not (cohort.test(fold) and cohort.training(fold)):
                raise BadInput(
                    f"study.folds: fold {fold} has no cases to test or to train on in {cohorts / name}.tsv; "
                    f"known are: {', '.join(map(str, cohort.folds))}."
                )
        for condition in study["conditions"]:
            block = config["datasets"][name]
            _check_condition(condition, condition_of(config["conditions"][condition], block), name, block)
            _check_what_is_left(condition, name, config)
    read |= _read_transfers(config, read, cohorts)
    patients_of(read)
    return read


def _trained(config: Mapping[str, Any]) -> list[str]:
    """The models of a study that are trained, or whose weights or predictions are used; with their fusers."""
    models = config["models"]
    names = [models[name].get("predictions_of", name) for name in config["study"]["models"]]
    names = [models[name].get("weights_of", name) for name in names]
    return list(dict.fromkeys([*needed_fusers(names, models), *names]))


def _read_sheet(name: str, cohorts: Path) -> Cohort:
    """The cohort of a dataset; without a sheet, a refusal that says how to draft one."""
    sheet = cohorts / f"{name}.tsv"
    if not os.path.lexists(sheet):
        raise BadInput(
            f"{sheet}: expected a cohort sheet of {name}, but there is none; draft one by "
            f"`snakemake results/ingest/{name}/cohort.tsv`, without the --configfile of a study that names {name}, "
            "review it, and copy it there."
        )
    return read_cohort(sheet)


def _read_transfers(config: Mapping[str, Any], trained: Mapping[str, Cohort], cohorts: Path) -> dict[str, Cohort]:
    """Cohorts of the transfer datasets that can be scored."""
    tested: dict[str, Cohort] = {}
    for name in config["study"].get("transfers", ()):
        if name in trained:
            raise BadInput(
                f"study.transfers: {name} is a dataset of the study, whose models test it fold by fold; leave it out."
            )
        for training_name in [
            training_name
            for training_name in trained
            if any(refusal_elsewhere(model, training_name, name, config) is None for model in config["study"]["models"])
        ]:
            tested[name] = _read_sheet(name, cohorts)
            _require_disjoint_patients(name, tested[name], training_name, trained[training_name])
    return tested


def _require_disjoint_patients(name: str, tested: Cohort, training_name: str, trained: Cohort) -> None:
    """Check that no patient is in both cohorts; the models of all folds predict every external case."""
    learned = {case.patient.casefold() for case in trained.cases}
    common = sorted({case.patient for case in tested.cases if case.patient.casefold() in learned})
    if common:
        raise BadInput(
            f"study.transfers: {name} has {len(common)} patients of {training_name}, on whom its models were trained, "
            f"the first {common[0]}; leave {name} out."
        )


def check_model(name: str, config: Mapping[str, Any], code: Code) -> None:
    """Check the block of a model, and of those whose weights or predictions it uses.

    Args:
        name: of the model.
        config: the whole configuration.
        code: of the library.

    Raises:
        BadInput: another model, a condition, an architecture or a setting does not exist, or a value has no effect.
    """
    _check_sources(name, config, code)
    check_task(name, config["models"], code)
    _check_settings(name, config, code)
    _check_sampling(name, config["models"])


def _check_sources(name: str, config: Mapping[str, Any], code: Code) -> None:
    corruptions = Corruptions.of(code)
    scaled = config["models"][name].get("predictions_of", name)
    predicting = [model for model, block in config["models"].items() if "predictions_of" not in block]
    if scaled not in predicting:
        raise BadInput(
            f"models.{name}: {name} scales the predictions of {scaled}, which is not a block of config/models.yaml "
            f"that predicts by itself{instead(scaled, predicting)}"
        )
    source = config["models"][scaled].get("weights_of", scaled)
    trained = [model for model, block in config["models"].items() if "training" in block]
    if source not in trained:
        raise BadInput(
            f"models.{name}: {name} uses the weights of {source}, which config/models.yaml does not train"
            f"{instead(source, trained)}"
        )
    asked = config["models"][source]["training"]["corruption"]
    if not asked["conditions"] and (asked.get("probability", 0) or asked.get("together", 0)):
        raise BadInput(
            f"models.{source}.training.corruption.conditions: expected conditions to corrupt images with, got none; "
            "name some, or set probability and together to 0."
        )
    corrupting = [condition for condition, block in config["conditions"].items() if "corruption" in block]
    for condition in asked["conditions"]:
        if condition not in corrupting:
            raise BadInput(
                f"models.{source}.training.corruption.conditions: {condition!r} is not a condition of "
                f"config/conditions.yaml with a corruption{instead(condition, corrupting)}"
            )
        block = config["conditions"][condition]
        check_condition_settings(condition, block, code)
        if "after" in block or block["corruption"] in corruptions.removing:
            raise BadInput(
                f"models.{source}.training.corruption.conditions: {condition!r} acts after normalization or takes "
                "voxels away, and a training corrupts values as they were acquired alone; leave it out."
            )


def _check_settings(name: str, config: Mapping[str, Any], code: Code) -> None:
    """Check the settings of a model, and of those whose weights or predictions it uses."""
    models = config["models"]
    while "predictions_of" in models[name]:
        name = models[name]["predictions_of"]
    check_settings(name, models[name], models, code)
    check_loss(name, models[name], code)
    if "weights_of" in models[name]:
        _check_settings(models[name]["weights_of"], config, code)


def _check_sampling(name: str, models: Mapping[str, Any]) -> None:
    """Check that samples of a model differ, so that the interval of the volume is one."""
    block = models[name]
    if "samples" in block:
        settings = {**models[block["weights_of"]]["settings"], **block["settings"]}
        if settings.get("diffusion") != "renoise":
            raise BadInput(
                f"models.{name}.samples: expected settings with `diffusion: renoise`, as without it all samples are "
                "the same, got none; add it, or leave samples out."
            )


def _check_condition(name: str, condition: Mapping[str, Any], dataset: str, block: Mapping[str, Any]) -> None:
    named = [modality_name for key in ("absent", "present", "modalities") for modality_name in condition.get(key, ())]
    unknown = [modality for modality in named if modality not in block["modalities"]]
    if unknown:
        raise BadInput(
            f"study.conditions: {name} speaks of {', '.join(unknown)}, which {dataset} does not have; "
            f"known are: {', '.join(block['modalities'])}."
        )
    absent = withheld(condition, block["modalities"])
    if len(absent) == len(block["modalities"]):
        raise BadInput(f"study.conditions: {name} leaves no modality of {dataset}; withhold fewer.")
    if "present" in condition and not absent:
        raise BadInput(f"study.conditions: {name} keeps every modality of {dataset}, as clean does; leave it out.")
    if "corruption" in condition:
        _check_corruption(
            name, condition, dataset, {one: modality_name["kind"] for one, modality_name in block["modalities"].items()}
        )


def _check_what_is_left(name: str, dataset: str, config: Mapping[str, Any]) -> None:
    """Check that a condition leaves an image to every model that is tested under it."""
    study = config["study"]
    for model in study["models"]:
        tested = name in study.get("only", {}).get(model, [name])
        read = withholds_all(config["conditions"][name], model, dataset, config) if tested else []
        if read:
            raise BadInput(
                f"study.conditions: {name} withholds {' and '.join(read)}, all that {model} reads of {dataset}; "
                f"leave it out, or name the other conditions of {model} under study.only."
            )


def _check_corruption(name: str, condition: Mapping[str, Any], dataset: str, kinds: Mapping[str, str]) -> None:
    if not any(corrupts(condition, modality, kind) for modality, kind in kinds.items()):
        raise BadInput(
            f"study.conditions: {name} corrupts no modality of {dataset}; it asks for the kind "
            f"{' or '.join(condition.get('kinds', ('any',)))}, known are: "
            f"{', '.join(f'{modality} ({kind})' for modality, kind in kinds.items())}."
        )
