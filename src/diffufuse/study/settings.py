"""Whether the settings of a model's block are arguments of its architecture, read from source: importing it is slow."""

import ast
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.study.code_digest import Code
from diffufuse.study.members import MODELS

# What a plan gives to every architecture.
GIVEN = ("modalities", "outputs")


@dataclass(frozen=True)
class Arguments:
    """The settings that an architecture takes.

    Attributes:
        names: all, in order.
        required: those without a default.
    """

    names: tuple[str, ...]
    required: tuple[str, ...]


def check_settings(name: str, block: Mapping[str, Any], models: Mapping[str, Any], code: Code) -> None:
    """Check the settings of a model against the arguments of its architecture.

    Args:
        name: of the model.
        block: its block of `config/models.yaml`; one with `weights_of` has the architecture of that model, whose
            settings it lays its own over.
        models: the whole catalogue.
        code: of the library.

    Raises:
        BadInput: the architecture does not exist, or a setting is unknown or missing; near names are suggested.
    """
    source = models[block.get("weights_of", name)]
    architecture = source["architecture"]
    classes = code.registry(MODELS)
    if architecture not in classes:
        raise BadInput(
            f"models.{name}.architecture: {architecture!r} is not in src/diffufuse/models/__init__.py"
            f"{_near(architecture, classes)}; known are: {', '.join(classes)}."
        )
    arguments = arguments_of(code, MODELS.rpartition(".")[0], _name(classes[architecture]))
    for setting in block["settings"]:
        if setting not in arguments.names:
            raise BadInput(
                f"models.{name}.settings: {architecture} has no argument {setting!r}{_near(setting, arguments.names)}; "
                f"known are: {', '.join(arguments.names)}."
            )
    missing = [setting for setting in arguments.required if setting not in {**source["settings"], **block["settings"]}]
    if missing:
        raise BadInput(f"models.{name}.settings: {architecture} needs {', '.join(missing)}, which is not set; add it.")


def arguments_of(code: Code, module: str, name: str) -> Arguments:
    """The keyword arguments of a class beside those that a plan gives.

    Args:
        code: of the library.
        module: full name of a module that defines or imports the class.
        name: of the class there.
    """
    tree = ast.parse(code.path(module).read_text())
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            return _arguments(statement)
        if isinstance(statement, ast.ImportFrom) and name in [alias.asname or alias.name for alias in statement.names]:
            return arguments_of(code, str(statement.module), name)
    raise ValueError(f"{module}: expected a class {name}")


def _arguments(definition: ast.ClassDef) -> Arguments:
    function = next(part for part in definition.body if isinstance(part, ast.FunctionDef) and part.name == "__init__")
    pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    own = [(argument.arg, default) for argument, default in pairs if argument.arg not in GIVEN]
    return Arguments(tuple(name for name, _ in own), tuple(name for name, default in own if default is None))


def _name(entry: ast.expr) -> str:
    if not isinstance(entry, ast.Name):
        raise ValueError(f"{MODELS}: expected names of classes, got {ast.unparse(entry)}")
    return entry.id


def _near(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f", did you mean {near[0]!r}?" if near else ""
