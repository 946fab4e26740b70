"""Where a model can be tested, by what it reads: on which other datasets, and under which conditions."""

from collections.abc import Mapping
from typing import Any

from diffufuse.conditions.apply import withheld
from diffufuse.study.inputs import fuser_of, input_names
from diffufuse.study.transfer import refusal, shared_modalities

Blocks = Mapping[str, Mapping[str, Any]]


def trained_as(model: str, models: Blocks) -> str:
    """The model whose weights a model uses, or itself."""
    source = models[model].get("predictions_of", model)
    return str(models[source].get("weights_of", source))


def refusal_elsewhere(model: str, trained_on: str, tested: str, config: Mapping[str, Any]) -> str | None:
    """The reason why a model that was trained on one dataset cannot be tested on another; None if it can.

    Args:
        model: its name.
        trained_on: name of the dataset that it learned from.
        tested: name of the other one.
        config: the whole configuration.

    Raises:
        BadInput: the first dataset lacks what the model reads.
    """
    datasets, name = config["datasets"], trained_as(model, config["models"])
    block, trained_block, tested_block = config["models"][name], datasets[trained_on], datasets[tested]
    reason = refusal(trained_block, tested_block, task=block["task"])
    if reason:
        return reason
    if fuser_of(block):
        return f"{model} reads images that are fused of the pair of {trained_on}."
    names = input_names(name, block, trained_on, trained_block)
    if block["task"] == "fuse":
        pair = sorted(trained_block["pair"].values())
        return None if sorted(names) == pair else f"{model} fuses {' and '.join(names)}, not the pair of {trained_on}."
    read = {name: trained_block["modalities"][name] for name in names}
    if not shared_modalities(read, tested_block["modalities"]):
        cases_have = ", ".join(tested_block["modalities"])
        return f"No modality is shared: {model} reads {', '.join(read)}, the cases have {cases_have}."
    return None


def withholds_all(condition: Mapping[str, Any], model: str, dataset: str, config: Mapping[str, Any]) -> list[str]:
    """The modalities that a model reads, itself or by its fuser, if a condition withholds every one; else none.

    Args:
        condition: a block of `config/conditions.yaml`.
        model: its name.
        dataset: name of the dataset.
        config: the whole configuration.

    Raises:
        BadInput: the dataset lacks what the model reads.
    """
    name = trained_as(model, config["models"])
    reader = fuser_of(config["models"][name]) or name
    read = input_names(reader, config["models"][reader], dataset, config["datasets"][dataset])
    return read if withheld(condition, read) == read else []
