"""Whether what a study names exists: in the catalogues, in the library, or in the study itself."""

from collections.abc import Iterable, Mapping
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.files.names import instead
from diffufuse.study.code_digest import Code
from diffufuse.study.members import FIGURES, TABLES
from diffufuse.study.metric_names import metric_names


def check_names(config: Mapping[str, Any], code: Code) -> None:
    """Check the names in the block `study`.

    Args:
        config: the whole configuration.
        code: of the library, whose registries name metrics, tables and figures.

    Raises:
        BadInput: a name does not exist, clean is not tested, the model to compare with is not in the study, or no
            condition of the pictures is; near names are suggested.
    """
    study = config["study"]
    for part in ("datasets", "conditions", "models"):
        _require(f"study.{part}", study[part], config[part], f"in config/{part}.yaml")
    _require("study.transfers", study.get("transfers", ()), config["datasets"], "in config/datasets.yaml")
    if "clean" not in study["conditions"]:
        raise BadInput(
            f"study.conditions: expected clean, with which the others are compared, got "
            f"{', '.join(study['conditions'])}; add it."
        )
    options = {"metrics": metric_names(code), "tables": code.registry(TABLES), "figures": code.registry(FIGURES)}
    for part, names in options.items():
        for name in study.get(part, ()):
            if name not in names:
                raise BadInput(f"study.{part}: {name!r} does not exist{instead(name, names)}")
    if "compare_with" in study:
        _require("study.compare_with", [study["compare_with"]], study["models"], "a model of the study")
    _check_pictured(config)
    _check_only(config)


def _check_pictured(config: Mapping[str, Any]) -> None:
    """Check the conditions of the pictures; those not in the study may come from a study that this one extends."""
    tested = config["study"]["conditions"]
    pictured = config["study"].get("overlay_conditions", tested)
    _require("study.overlay_conditions", pictured, config["conditions"], "in config/conditions.yaml")
    if not set(pictured) & set(tested):
        raise BadInput(
            f"study.overlay_conditions: expected a condition of the study, got {', '.join(pictured)}; known are: "
            f"{', '.join(tested)}."
        )


def _check_only(config: Mapping[str, Any]) -> None:
    """Check `study.only` against the catalogues; names not in the study may come from a study that this one extends."""
    for model, conditions in config["study"].get("only", {}).items():
        _require("study.only", [model], config["models"], "in config/models.yaml")
        _require(f"study.only.{model}", conditions, config["conditions"], "in config/conditions.yaml")
        if "clean" not in conditions:
            raise BadInput(f"study.only.{model}: expected clean among its conditions; add it.")


def _require(place: str, names: Iterable[str], options: Iterable[str], where: str) -> None:
    options = list(options)
    for name in names:
        if name not in options:
            raise BadInput(f"{place}: {name!r} is not {where}{instead(name, options)}")
