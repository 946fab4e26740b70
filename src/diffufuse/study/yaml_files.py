"""YAML that people edit, in which nothing is read as something else than it looks like.

YAML lets the last of two equal keys win, and reads `no` as false, `012` as 10, `1_000` as 1000, `1:30` as 90 and `1e-3`
as a text. Snakemake reads the configuration itself; this reader refuses such texts beforehand.
"""

import functools
import os
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import yaml

from diffufuse.errors import BadInput, printable
from diffufuse.files.texts import described, odd_character, read_lines

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, ten times as fast
INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
FLOAT = re.compile(r"-?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?")
NUMBER_AS_TEXT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+|0o[0-7]+")
BOOLEANS = ("true", "false")
TAG = "tag:yaml.org,2002:"
KINDS = ("str", "int", "float", "bool", "null", "merge", "map", "seq")
LONGEST_SHOWN = 40


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file whose top level is names and their values.

    Args:
        path: in UTF-8, as Snakemake reads it.

    Returns:
        Its content, which is shared with later calls and must not be changed.

    Raises:
        BadInput: the file cannot be read, is no YAML, is empty, has a key twice, or a text that YAML reads as something
            else than it looks like; the message names the line.
    """
    return _read(printable(str(path)), "\n".join(read_lines(path, what="YAML", wide=False)))


@functools.cache
def _read(path: str, text: str) -> dict[str, Any]:
    loader = LOADER(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            got = "an empty file" if node is None else "a list" if isinstance(node, yaml.SequenceNode) else "one text"
            raise BadInput(f"{path}: expected names and their values at the top level, got {got}.")
        for line, fault in _faults(node, (), set()):
            raise BadInput(f"{path}, line {line}: {fault}.")
        content: dict[str, Any] = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise BadInput(
            f"{path}{_line_of(error)}: expected YAML, got a fault ({_problem(error)}); correct it."
        ) from error
    except (ValueError, RecursionError, OverflowError, TypeError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path}: expected YAML, but it cannot be read; look for a value of an odd form.") from error
    finally:
        loader.dispose()
    return content


def _faults(node: yaml.Node, above: tuple[int, ...], done: set[int]) -> Iterator[tuple[int, str]]:
    """Line and sentence of everything below a node that is not what it looks like, in order; aliases are seen once."""
    line = node.start_mark.line + 1
    if id(node) in above:
        yield line, "expected a value, got an alias of what it lies in; write the value out"
    if id(node) in done or id(node) in above:
        return
    done.add(id(node))
    kind = node.tag.removeprefix(TAG)
    if kind not in KINDS:
        yield line, _odd_kind(node, kind)
    elif isinstance(node, yaml.ScalarNode):
        fault = _fault_of_text(node) or (_fault_of_plain(node.value, kind) if not node.style else None)
        if fault:
            yield line, fault
    elif isinstance(node, yaml.MappingNode):
        yield from _faults_of_keys(node)
        for key, value in node.value:
            yield from _faults(key, (*above, id(node)), done)
            yield from _faults(value, (*above, id(node)), done)
    else:
        for item in node.value:
            yield from _faults(item, (*above, id(node)), done)


def _faults_of_keys(node: yaml.MappingNode) -> Iterator[tuple[int, str]]:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line, name = key.start_mark.line + 1, key.value
        if not isinstance(key, yaml.ScalarNode):
            yield line, "expected a name before the colon, got a list or a mapping; correct the brackets"
            continue
        odd = odd_character(name)
        if odd:
            yield line, f"expected a name before the colon, got {odd} in it, which cannot be seen; remove it"
        if key.tag.removeprefix(TAG) in ("bool", "null", "float"):
            yield line, f"expected a name before the colon, got `{_shown(name)}`; write it in quotes if it is a name"
        if name in lines:
            yield line, f"expected each key once, got `{_shown(name)}` also in line {lines[name]}; remove one"
        lines[name] = line


def _fault_of_text(node: yaml.ScalarNode) -> str | None:
    """Control and invisible characters; spaces of any width, and line breaks in a text of several lines, are none."""
    seen = (letter.isprintable() or letter == "\n" or unicodedata.category(letter) == "Zs" for letter in node.value)
    odd = next((letter for letter, is_seen in zip(node.value, seen, strict=True) if not is_seen), None)
    return f"expected text, got {described(odd)}, which cannot be seen; remove it" if odd else None


def _fault_of_plain(value: str, kind: str) -> str | None:
    """What YAML makes of a text without quotes, where that is another thing than it looks like."""
    text = f"`{_shown(value)}`"
    if kind == "bool" and value.lower() not in BOOLEANS:
        read = "true" if value.lower() in ("yes", "on") else "false"
        return f"YAML reads {text} as {read}; write {read}, or '{value}' in quotes if the text is meant"
    if kind == "int" and not INTEGER.fullmatch(value):
        return f"expected a whole number in plain digits, got {text}, which YAML reads as another; write it out"
    if kind == "float" and not FLOAT.fullmatch(value):
        return f"expected a number in plain digits, got {text}, which YAML reads as another; write it out"
    if kind == "str" and NUMBER_AS_TEXT.fullmatch(value):
        return f"YAML reads {text} as a text; write the number as 1.0e-3 or in plain digits, or a text in quotes"
    return None


def _odd_kind(node: yaml.Node, kind: str) -> str:
    if kind == "timestamp":
        return f"YAML reads `{_shown(node.value)}` as a date; write it in quotes if it is a text"
    return f"expected plain texts, numbers, lists and mappings, got the tag {_shown(node.tag)}; remove it"


def _problem(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is damaged"
    return _shown(str(problem), 120)


def _line_of(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _shown(text: str, longest: int = LONGEST_SHOWN) -> str:
    return printable(text if len(text) <= longest else f"{text[:longest]} ...")
