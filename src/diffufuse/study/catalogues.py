"""Whether every block of the catalogues can mean what it says, also those that a study does not name.

A file of any dataset, condition or model can be asked for by its path, so a faulty block is no matter of one study.
"""

import json
from collections.abc import Mapping
from typing import Any

from diffufuse.conditions.apply import corrupts
from diffufuse.errors import BadInput
from diffufuse.files.names import instead
from diffufuse.study.check import check_model
from diffufuse.study.code_digest import Code
from diffufuse.study.condition_settings import check_condition_settings
from diffufuse.study.dataset_values import check_alike, check_dataset
from diffufuse.study.inputs import CORRUPTED, ROLES, condition_of

CLEAN = "clean"


def check_catalogues(config: Mapping[str, Any], code: Code) -> None:
    """Check all datasets, conditions and models.

    Args:
        config: the whole configuration, validated against its schemas.
        code: of the library.

    Raises:
        BadInput: a block cannot mean what it says; the message names the place.
    """
    for name, block in config["datasets"].items():
        check_dataset(name, block)
    check_alike(config["datasets"])
    for name, block in config["conditions"].items():
        check_condition_settings(name, block, code)
        _check_effect(name, block, config["datasets"])
    _require_different(config["conditions"])
    for name in config["models"]:
        check_model(name, config, code)


def _check_effect(name: str, condition: Mapping[str, Any], datasets: Mapping[str, Any]) -> None:
    """Check that a condition does something to an image that exists, and `clean` to none."""
    place = f"conditions.{name}"
    if (name == CLEAN) is bool(condition):
        raise BadInput(
            f"{place}: expected {'nothing' if condition else 'what it withholds or corrupts'}, got "
            f"{', '.join(condition) or 'nothing'}; clean alone changes nothing."
        )
    names = list(dict.fromkeys(modality for dataset in datasets.values() for modality in dataset["modalities"]))
    names += [role for role in ROLES if role in condition.get(CORRUPTED, ()) and role not in names]
    for key in ("absent", "present", "modalities"):
        for modality in condition.get(key, ()):
            if modality not in names:
                raise BadInput(f"{place}.{key}: {modality!r} is no modality of any dataset{instead(modality, names)}")
    corrupted = [
        corrupts(condition_of(condition, dataset), modality, block["kind"])
        for dataset in datasets.values()
        for modality, block in dataset["modalities"].items()
    ]
    if "corruption" in condition and not any(corrupted):
        raise BadInput(
            f"{place}: expected modalities of the kinds {', '.join(condition.get('kinds', ()))}, got "
            f"{', '.join(condition.get('modalities', ()))}, which are of others; correct one."
        )


def _require_different(conditions: Mapping[str, Any]) -> None:
    """Two names of one condition would be two columns of one table; one may lack its modalities."""
    names: dict[str, str] = {}
    for name, block in conditions.items():
        same = names.setdefault(json.dumps(block, sort_keys=True), name)
        if same != name:
            raise BadInput(f"conditions.{name}: expected a block of its own, got that of {same}; correct one.")
