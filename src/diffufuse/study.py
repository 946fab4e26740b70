"""Whether a study makes sense, told before anything runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from diffufuse.cases import Cohort, read_cohort
from diffufuse.errors import BadInput

LONGEST_MESSAGE = 300


def check_form(content: Any, schema: Mapping[str, Any], *, where: str) -> None:
    """Check a part of the configuration against its JSON schema.

    Args:
        content: as read from YAML.
        schema: JSON Schema, draft 2020-12.
        where: what the part is called, for the message.

    Raises:
        BadInput: the content does not have the form; the sentence names the place and, for a key, the known ones.
    """
    error = best_match(Draft202012Validator(schema).iter_errors(content))
    if error is None:
        return
    place = ".".join(str(step) for step in (where, *error.absolute_path))
    known = error.schema.get("properties", {}) if error.validator == "additionalProperties" else {}
    hint = f"; known are: {', '.join(known)}" if known else ""
    told = error.message if len(error.message) < LONGEST_MESSAGE else f"expected another form: {error.validator}"
    raise BadInput(f"{place}: {told}{hint}.")


def check_study(config: Mapping[str, Any], cohorts: Path) -> dict[str, Cohort]:
    """Check the names of a study against the catalogues, and its folds against the cohort sheets.

    Args:
        config: the whole configuration, each part already in the form of its schema.
        cohorts: folder of the cohort sheets, one `{dataset}.tsv` per dataset.

    Returns:
        Dataset to cohort.

    Raises:
        BadInput: a name is not in its catalogue, a sheet is faulty, a fold has no cases, a condition speaks of a
            modality or kind that a dataset does not have, a model borrows weights or learns from conditions that are
            not there, or the model to compare with is none of the study's.
    """
    study = config["study"]
    for part in ("datasets", "conditions", "models"):
        for name in study[part]:
            if name not in config[part]:
                raise BadInput(
                    f"study.{part}: {name!r} is not in config/{part}.yaml; known are: {', '.join(config[part])}."
                )
    for name in study["models"]:
        _check_model(name, config)
    if study.get("compare_with", study["models"][0]) not in study["models"]:
        raise BadInput(
            f"study.compare_with: {study['compare_with']!r} is not a model of the study; known are: "
            f"{', '.join(study['models'])}."
        )
    read = {name: read_cohort(cohorts / f"{name}.tsv") for name in study["datasets"]}
    for name, cohort in read.items():
        for fold in study["folds"]:
            if not (cohort.test(fold) and cohort.training(fold)):
                raise BadInput(
                    f"study.folds: fold {fold} has no cases to test or to train on in {cohorts / name}.tsv; "
                    f"known are: {', '.join(map(str, cohort.folds))}."
                )
        for condition in study["conditions"]:
            _check_condition(condition, config["conditions"][condition], name, config["datasets"][name])
    return read


def _check_model(name: str, config: Mapping[str, Any]) -> None:
    source = config["models"][name].get("weights_of", name)
    trained = [model for model, block in config["models"].items() if "training" in block]
    if source not in trained:
        raise BadInput(
            f"study.models: {name} uses the weights of {source}, which config/models.yaml does not train; "
            f"known are: {', '.join(trained)}."
        )
    corrupting = [condition for condition, block in config["conditions"].items() if "corruption" in block]
    for condition in config["models"][source]["training"]["corruption"]["conditions"]:
        if condition not in corrupting:
            raise BadInput(
                f"models.{source}.training.corruption.conditions: {condition!r} is not a condition of "
                f"config/conditions.yaml with a corruption; known are: {', '.join(corrupting)}."
            )


def _check_condition(name: str, condition: Mapping[str, Any], dataset: str, block: Mapping[str, Any]) -> None:
    spoken_of = [*condition.get("absent", ()), *condition.get("modalities", ())]
    unknown = [modality for modality in spoken_of if modality not in block["modalities"]]
    if unknown:
        raise BadInput(
            f"study.conditions: {name} speaks of {', '.join(unknown)}, which {dataset} does not have; "
            f"known are: {', '.join(block['modalities'])}."
        )
    if set(condition.get("absent", ())) >= set(block["modalities"]):
        raise BadInput(f"study.conditions: {name} leaves no modality of {dataset}; withhold fewer.")
    if "corruption" in condition and not _corrupted(condition, block["modalities"]):
        kinds = {modality: settings["kind"] for modality, settings in block["modalities"].items()}
        raise BadInput(
            f"study.conditions: {name} corrupts no modality of {dataset}; it asks for the kind "
            f"{' or '.join(condition.get('kinds', ('any',)))}, known are: "
            f"{', '.join(f'{modality} ({kind})' for modality, kind in kinds.items())}."
        )


def _corrupted(condition: Mapping[str, Any], modalities: Mapping[str, Any]) -> list[str]:
    """What `conditions.corrupts` says of each modality, without what it takes to corrupt, which loads slowly."""
    return [
        name
        for name, settings in modalities.items()
        if name not in condition.get("absent", ())
        and name in condition.get("modalities", modalities)
        and settings["kind"] in condition.get("kinds", (settings["kind"],))
    ]
