"""Check what models read, and that fusers and segmenters are trained as what they are."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.files.names import instead
from diffufuse.study.code_digest import Code
from diffufuse.study.definitions import definition_of
from diffufuse.study.inputs import GAMES, ROLES, fuser_of, fuses, input_modalities
from diffufuse.study.members import MODELS

OUTPUTS = {"segment": ("regions", "labels"), "fuse": ("image",)}
REGIMENS = {"segment": ("supervised", *GAMES), "fuse": ("label_free", "two_stage", "denoising", "registering", "fixed")}
WITHOUT_PARAMETERS = "diffufuse.models.fusers"
FIXED = "fixed"
FUSED_IMAGES = 2


def check_task(name: str, models: Mapping[str, Mapping[str, Any]], code: Code) -> None:
    """Check that output, regimen, architecture and input of a model fit its task.

    Args:
        name: of the model.
        models: the whole catalogue.
        code: of the library.

    Raises:
        BadInput: they do not, or the model has another task than the one that it takes weights or predictions from.
    """
    block = models[name]
    source = models.get(block.get("weights_of", block.get("predictions_of", name)), block)
    if source["task"] != block["task"]:
        raise BadInput(f"models.{name}.task: expected {source['task']}, as its source has, got {block['task']}.")
    if "predictions_of" in block and block["task"] != "segment":
        raise BadInput(f"models.{name}.scaling: expected probabilities to scale, but a fused image has none.")
    if "training" not in block:
        return
    _require_one_of(f"models.{name}.output", block["output"], OUTPUTS[block["task"]], block["task"])
    _require_one_of(
        f"models.{name}.training.regimen", block["training"]["regimen"], REGIMENS[block["task"]], block["task"]
    )
    _check_architecture(name, block, code)
    _check_input(name, block, models)


def check_reading(models: Iterable[str], datasets: Iterable[str], config: Mapping[str, Any]) -> None:
    """Check that every model of a study can read every dataset that it is trained on.

    Args:
        models: names of models that are trained.
        datasets: names of the study's datasets.
        config: the whole configuration.

    Raises:
        BadInput: a dataset lacks what a model reads, has no labels for a segmenter, or a model fuses its pair in the
            other order.
    """
    for dataset in datasets:
        dataset_block = config["datasets"][dataset]
        for model in models:
            block = config["models"][model]
            read = list(input_modalities(model, block, dataset, dataset_block))
            pair = [dataset_block.get("pair", {}).get(role) for role in ROLES]
            if fuses(block) and read == pair[::-1]:
                raise BadInput(
                    f"models.{model}.input.modalities: expected the structure, {pair[0]} in {dataset}, before the "
                    f"function, {pair[1]}, whose color is put back, got the other order; exchange them."
                )
            if block["task"] == "segment" and not dataset_block.get("regions"):
                raise BadInput(
                    f"study.models: {model} learns regions, but {dataset} is a set of pairs without labels; name "
                    "models with `task: fuse`."
                )


def _require_one_of(place: str, value: str, options: tuple[str, ...], task: str) -> None:
    if value not in options:
        raise BadInput(f"{place}: expected {' or '.join(options)} with `task: {task}`, got {value}; correct one.")


def _check_architecture(name: str, block: Mapping[str, Any], code: Code) -> None:
    classes = code.registry(MODELS)
    entry = classes.get(block["architecture"])
    definition = definition_of(code, MODELS.rpartition(".")[0], entry.id) if isinstance(entry, ast.Name) else None
    if definition is None:  # `check_settings` says so
        return
    module, statement = definition
    regimen, place = block["training"]["regimen"], f"models.{name}.training.regimen"
    if module.startswith(WITHOUT_PARAMETERS) is not (regimen == FIXED):
        says = "nothing to learn, so fixed" if regimen != FIXED else "weights to learn, so another regimen than fixed"
        raise BadInput(f"{place}: {block['architecture']} has {says} is expected, got {regimen}; correct it.")
    has_both = any(isinstance(part, ast.FunctionDef) and part.name == "fuse" for part in getattr(statement, "body", ()))
    if has_both is not (regimen in GAMES):
        expected = " or ".join(GAMES if has_both else REGIMENS[block["task"]][:1])
        raise BadInput(f"{place}: expected {expected} for {block['architecture']}, got {regimen}; correct one.")


def _check_input(name: str, block: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> None:
    fuser, asked = fuser_of(block), block.get("input", {})
    if fuser is not None:
        fusers = [other for other, candidate in models.items() if "training" in candidate and fuses(candidate)]
        if fuses(block) or fuser == name or fuser not in fusers:
            raise BadInput(
                f"models.{name}.input.fuser: expected a segmenter that reads the image of a trained fuser, got "
                f"{fuser!r} for {name}{instead(fuser, [other for other in fusers if other != name])}"
            )
        return
    if fuses(block) and (asked.get("values") != "display" or len(asked.get("modalities", ())) != FUSED_IMAGES):
        raise BadInput(
            f"models.{name}.input: expected two modalities with `values: display` to fuse, such as structure and "
            "function; add them."
        )
