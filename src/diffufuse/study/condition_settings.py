"""Whether the settings of a condition are those that its corruption reads, seen in source: importing it is slow."""

import ast
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.files.names import instead
from diffufuse.study.annotations import is_number
from diffufuse.study.code_digest import Code
from diffufuse.study.definitions import definition_of, tree_of
from diffufuse.study.members import CORRUPTIONS, REMOVALS

ARGUMENT = "settings"


@dataclass(frozen=True)
class Range:
    """The values that a setting can have.

    Attributes:
        low: least value.
        high: largest value.
        above: whether `low` itself is excluded.
        below: whether `high` itself is excluded.
        whole: whether it counts something.
    """

    low: float = 0
    high: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False

    def fits(self, value: float) -> bool:
        """Whether a value lies in the range."""
        inside = self.low <= value <= self.high
        at_open_end = (self.above and value == self.low) or (self.below and value == self.high)
        return inside and not at_open_end and not (self.whole and value != int(value))

    def in_words(self) -> str:
        """What is expected, for a message."""
        number = "a whole number" if self.whole else "a number"
        low = f"above {self.low:g}" if self.above else f"of at least {self.low:g}"
        high = f" and {'below' if self.below else 'at most'} {self.high:g}" if self.high < math.inf else ""
        return f"{number} {low}{high}"


# By the docstrings of the corruptions.
RANGES = {
    **dict.fromkeys(
        ("noise_sd", "length_mm", "translation_mm", "bend_mm", "slice_mm", "coefficient", "intensity"), Range()
    ),
    "amplitude_hu": Range(),
    "degrees": Range(high=180),
    "share": Range(high=1),
    "amplitude": Range(high=1, below=True),
    "change": Range(low=-1, above=True),
    "movements": Range(low=1, high=1000, whole=True),
    "streaks": Range(low=1, high=10_000, whole=True),
    "ghosts": Range(low=2, high=1000, whole=True),
}


@dataclass(frozen=True)
class Reads:
    """The settings that a corruption reads.

    Attributes:
        required: by `settings["name"]`, in order.
        optional: by `settings.get("name")`, in order.
        all_seen: whether it uses its settings in these two ways alone, so that no further name can have a meaning.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    all_seen: bool


def check_condition_settings(name: str, condition: Mapping[str, Any], code: Code) -> None:
    """Check the corruption of a condition and its settings.

    Args:
        name: of the condition.
        condition: its block of `config/conditions.yaml`; one without a corruption is accepted.
        code: of the library.

    Raises:
        BadInput: the corruption does not exist, or a setting is unknown, missing, no number or out of range; near names
            are suggested.
    """
    if "corruption" not in condition:
        return
    corruption, settings = condition["corruption"], condition["settings"]
    names = [*code.registry(CORRUPTIONS), *code.registry(REMOVALS)]
    if corruption not in names:
        raise BadInput(f"conditions.{name}.corruption: {corruption!r} does not exist{instead(corruption, names)}")
    reads = settings_read(code, corruption)
    options = (*reads.required, *reads.optional)
    for setting, value in settings.items():
        if reads.all_seen and setting not in options:
            raise BadInput(f"conditions.{name}.settings: {corruption} reads no {setting!r}{instead(setting, options)}")
        if not is_number(value):
            raise BadInput(f"conditions.{name}.settings.{setting}: expected a number, got {value!r}.")
        if setting in RANGES and not RANGES[setting].fits(value):
            raise BadInput(
                f"conditions.{name}.settings.{setting}: expected {RANGES[setting].in_words()}, got {value!r}."
            )
    missing = [setting for setting in reads.required if setting not in settings]
    if missing:
        raise BadInput(
            f"conditions.{name}.settings: {corruption} needs {', '.join(missing)}, which is not set; add it."
        )


@functools.cache
def settings_read(code: Code, corruption: str) -> Reads:
    """The settings that the module of a corruption reads.

    Args:
        code: of the library.
        corruption: a key of `CORRUPTIONS` or `REMOVALS`.

    Raises:
        ValueError: the registry does not name a function of the library.
    """
    entry = {**code.registry(CORRUPTIONS), **code.registry(REMOVALS)}[corruption]
    definition = isinstance(entry, ast.Name) and definition_of(code, CORRUPTIONS.rpartition(".")[0], entry.id)
    if not definition:
        raise ValueError(f"{CORRUPTIONS}: expected a function of the library, got {ast.unparse(entry)}")
    nodes = list(ast.walk(tree_of(code, definition[0])))
    required = [name for node in nodes for name in _subscript(node)]
    optional = [name for node in nodes for name in _get(node)]
    uses = sum(isinstance(node, ast.Name) and node.id == ARGUMENT for node in nodes)
    unique = tuple(dict.fromkeys(required)), tuple(dict.fromkeys(optional))
    return Reads(*unique, all_seen=uses == len(required) + len(optional))


def _subscript(node: ast.AST) -> list[str]:
    match node:
        case ast.Subscript(value=ast.Name(id="settings"), slice=ast.Constant(value=str(name))):
            return [name]
    return []


def _get(node: ast.AST) -> list[str]:
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="settings"), attr="get"), args=[ast.Constant(value=str(name)), *_]
        ):
            return [name]
    return []
