"""Whether the settings of a model's block are arguments of its architecture, read from source: importing it is slow."""

import ast
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.files.names import instead
from diffufuse.study.annotations import choices, expanded, fits, in_words
from diffufuse.study.code_digest import Code
from diffufuse.study.definitions import definition_of, fields_of
from diffufuse.study.members import MODELS

# What a plan gives to every architecture.
GIVEN = ("modalities", "outputs")
OBJECTIVES = "diffufuse.train.objectives"
# Integers are at least 0, of these arguments at least 1.
SIZES = (
    *("channels", "widths", "width", "strides", "groups", "dims", "slices", "steps"),
    *("positions", "heads", "head_width", "ffn", "feed_forward"),
    *("token_heads", "token_feed_forward", "encoder_width", "shallow", "registration_widths", "fusion_widths"),
    *("patch", "states"),
    "multipliers",
    *("stem", "leader_width", "leader_heads", "follower_widths", "follower_heads", "follower_stem"),
)


@dataclass(frozen=True)
class Arguments:
    """The settings that an architecture takes.

    Attributes:
        annotations: name to annotation, without aliases, in order.
        required: those without a default.
    """

    annotations: Mapping[str, ast.expr]
    required: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All, in order."""
        return tuple(self.annotations)


def check_settings(name: str, block: Mapping[str, Any], models: Mapping[str, Any], code: Code) -> None:
    """Check the settings of a model against the arguments of its architecture.

    Args:
        name: of the model.
        block: its block of `config/models.yaml`; one with `weights_of` has the architecture of that model, whose
            settings it lays its own over.
        models: the whole catalogue.
        code: of the library.

    Raises:
        BadInput: the architecture does not exist, or a setting is unknown, missing, or not what its argument expects;
            near names are suggested.
    """
    source = models[block.get("weights_of", name)]
    architecture = source["architecture"]
    classes = code.registry(MODELS)
    if architecture not in classes:
        raise BadInput(
            f"models.{name}.architecture: {architecture!r} is not in src/diffufuse/models/__init__.py"
            f"{instead(architecture, classes)}"
        )
    arguments = arguments_of(code, MODELS.rpartition(".")[0], _name(classes[architecture]))
    for setting in block["settings"]:
        if setting not in arguments.names:
            raise BadInput(
                f"models.{name}.settings: {architecture} has no argument {setting!r}{instead(setting, arguments.names)}"
            )
    missing = [setting for setting in arguments.required if setting not in {**source["settings"], **block["settings"]}]
    if missing:
        raise BadInput(f"models.{name}.settings: {architecture} needs {', '.join(missing)}, which is not set; add it.")
    for setting, value in block["settings"].items():
        _check_value(f"models.{name}.settings.{setting}", setting, value, arguments.annotations[setting])


def check_loss(name: str, block: Mapping[str, Any], code: Code) -> None:
    """Check the weights of a model's loss against those of the objective.

    Args:
        name: of the model.
        block: its block of `config/models.yaml`.
        code: of the library.

    Raises:
        BadInput: the objective has no such weight; the near name is suggested.
    """
    weights = fields_of(code, OBJECTIVES, "Weights") if "loss" in block else []
    for weight in block.get("loss", ()):
        if weight not in weights:
            raise BadInput(f"models.{name}.loss: the objective has no weight {weight!r}{instead(weight, weights)}")


@functools.cache
def arguments_of(code: Code, module: str, name: str) -> Arguments:
    """The keyword arguments of a class beside those that a plan gives.

    Args:
        code: of the library.
        module: full name of a module that defines or imports the class.
        name: of the class there.

    Raises:
        ValueError: there is no such class.
    """
    module, definition = definition_of(code, module, name) or (module, None)
    if not isinstance(definition, ast.ClassDef):
        raise ValueError(f"{module}: expected a class {name}")
    function = next(part for part in definition.body if isinstance(part, ast.FunctionDef) and part.name == "__init__")
    pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    own = [(argument, default) for argument, default in pairs if argument.arg not in GIVEN]
    return Arguments(
        {argument.arg: expanded(argument.annotation or ast.Name("Any"), code, module) for argument, _ in own},
        tuple(argument.arg for argument, default in own if default is None),
    )


def _check_value(place: str, setting: str, value: Any, annotation: ast.expr) -> None:
    options = choices(annotation)
    if not fits(value, annotation):
        if isinstance(value, str) and options:
            raise BadInput(f"{place}: {value!r} does not exist{instead(value, options)}")
        quotes = "; YAML reads off and no as false, so write the text in quotes" if isinstance(value, bool) else ""
        raise BadInput(f"{place}: expected {in_words(annotation)}, got {value!r}{quotes if options else ''}.")
    if "int" not in {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}:
        return
    least, numbers = int(setting in SIZES), _numbers(value)
    if any(number < least for number in numbers) or (least and not numbers and value is not None):
        raise BadInput(f"{place}: expected {in_words(annotation)}, of at least {least}, got {value!r}.")


def _numbers(value: Any) -> list[float]:
    if isinstance(value, list | tuple):
        return [number for part in value for number in _numbers(part)]
    return [value] if isinstance(value, int | float) else []


def _name(entry: ast.expr) -> str:
    if not isinstance(entry, ast.Name):
        raise ValueError(f"{MODELS}: expected names of classes, got {ast.unparse(entry)}")
    return entry.id
