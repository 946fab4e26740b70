"""What a model reads: modalities of a dataset, by name or by their role in fusion, or the fused image of a fuser."""

from collections.abc import Iterable, Mapping
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.files.names import instead

# The two images that are fused, in channel order.
ROLES = ("structure", "function")
FUSED = "fused"
# Of a condition: which images it corrupts.
CORRUPTED = "modalities"
# The format of a set of pictures, which has no volumes and no labels.
PAIRS = "pairs"
GAMES = ("bilevel", "joint")
# A fused image is on the display scale already.
FUSED_BLOCK = {"kind": FUSED, "normalization": {"method": "display", "black": 0, "white": 1}}


def fuses(block: Mapping[str, Any]) -> bool:
    """Whether a trained model makes a fused image, alone or on its way to masks."""
    return block["task"] == "fuse" or block.get("training", {}).get("regimen") in GAMES


def fuser_of(block: Mapping[str, Any]) -> str | None:
    """The model whose fused image a model reads, None for one that reads a dataset's own images."""
    fuser: str | None = block.get("input", {}).get("fuser")
    return fuser


def input_names(model: str, block: Mapping[str, Any], dataset: str, dataset_block: Mapping[str, Any]) -> list[str]:
    """The modalities of a dataset that a model reads, in channel order.

    Args:
        model: its name.
        block: its block of `config/models.yaml`; without `input.modalities`, all are read.
        dataset: its name.
        dataset_block: its block of `config/datasets.yaml`.

    Raises:
        BadInput: the dataset has no such modality, or no pair to take a role from, or one is read twice.
    """
    modalities = dataset_block["modalities"]
    asked = block.get("input", {}).get("modalities", list(modalities))
    place = f"models.{model}.input.modalities"
    names = [_resolved(name, place, dataset, dataset_block) for name in asked]
    if len(set(names)) < len(names):
        raise BadInput(f"{place}: expected each modality of {dataset} once, got {', '.join(names)}; leave one out.")
    return names


def input_modalities(
    model: str, block: Mapping[str, Any], dataset: str, dataset_block: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The images that a model reads, name to `kind` and `normalization`, in channel order.

    Args:
        model: its name.
        block: its block of `config/models.yaml`.
        dataset: its name.
        dataset_block: its block of `config/datasets.yaml`.

    Raises:
        BadInput: as `input_names`; or the model reads a modality on the display scale, of which the dataset says
            neither black nor white.
    """
    if fuser_of(block):
        return {FUSED: dict(FUSED_BLOCK)}
    names = input_names(model, block, dataset, dataset_block)
    displayed = block.get("input", {}).get("values") == "display"
    return {name: _read(name, dataset_block, displayed, model, dataset) for name in names}


def condition_of(condition: Mapping[str, Any], dataset_block: Mapping[str, Any]) -> dict[str, Any]:
    """A condition as it is for a dataset: roles among the modalities that it corrupts are those of the dataset's pair.

    Args:
        condition: a block of `config/conditions.yaml`.
        dataset_block: a block of `config/datasets.yaml`; without a pair, roles stay as they are.
    """
    roles = {**dataset_block.get("pair", {}), **{name: name for name in dataset_block["modalities"]}}
    named = {key: [roles.get(name, name) for name in value] for key, value in condition.items() if key == CORRUPTED}
    return {**condition, **named}


def _resolved(name: str, place: str, dataset: str, dataset_block: Mapping[str, Any]) -> str:
    modalities, pair = dataset_block["modalities"], dataset_block.get("pair", {})
    if name in modalities:
        return name
    if name not in ROLES:
        raise BadInput(f"{place}: {name!r} is not a modality of {dataset}{instead(name, [*modalities, *ROLES])}")
    if name not in pair:
        raise BadInput(
            f"{place}: expected a dataset that names its {name}, but {dataset} has no `pair` in config/datasets.yaml; "
            f"add it, or name modalities; known are: {', '.join(modalities)}."
        )
    return str(pair[name])


def _read(name: str, dataset_block: Mapping[str, Any], displayed: bool, model: str, dataset: str) -> dict[str, Any]:
    block = dataset_block["modalities"][name]
    if not displayed and "normalization" not in block:
        raise BadInput(
            f"models.{model}.input.values: expected display, as {name} of {dataset} is read in gray levels alone; "
            "set it."
        )
    if not displayed:
        return {key: block[key] for key in ("kind", "normalization")}
    if "display" not in block:
        raise BadInput(
            f"models.{model}.input.values: expected modalities of {dataset} with `display`, which says what is black "
            f"and what is white, but {name} has none; add it in config/datasets.yaml."
        )
    return {"kind": block["kind"], "normalization": {"method": "display", **block["display"]}}


def needed_fusers(models: Iterable[str], blocks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The fusers whose images models read, each once, in the order of the models."""
    return list(dict.fromkeys(fuser for model in models if (fuser := fuser_of(blocks[model]))))
