"""Path patterns: `{case}` stands for the text of a case, `*` for any text within one name."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cache
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.files.names import first_of
from diffufuse.files.tree import is_hidden, tree_of
from diffufuse.ingest.formats.listing import case_name, one_name_twice

# Tried in this order, so that `{case}*` and `{case}.nii` end a case before a dot if they can.
CASES = ("[A-Za-z0-9_-]+", "[^/]+")


def case_in(pattern: str, path: str) -> str | None:
    """The text of the case in a path below the raw folder; None where the path does not match the pattern."""
    matches = (expression.fullmatch(path) for expression in _expressions(pattern))
    return next((match["case"] for match in matches if match), None)


def find_file(raw: Path, case: str, patterns: Sequence[str]) -> Path | None:
    """Return the one file of a case that matches the first pattern with any match.

    Raises:
        BadInput: two files match, or two names in the raw folder are those of the case.
    """
    for pattern in patterns:
        matches = [
            path
            for text in _texts(raw, pattern, case)
            for path in sorted(raw.glob(pattern.replace("{case}", glob.escape(text))))
            if _is_of(path.relative_to(raw), pattern, text)
        ]
        if len(matches) > 1:
            names = first_of([path.relative_to(raw).as_posix() for path in matches])
            raise BadInput(f"{raw}, case {case}: expected one file like {pattern}, got {names}; keep one.")
        if matches:
            return matches[0]
    return None


def find_sources(raw: Path, block: Mapping[str, Any]) -> tuple[set[str], dict[str, str]]:
    """List the cases with an image of the reference modality, and what else stands where those should be.

    Args:
        raw: the raw folder.
        block: settings of the dataset, with `reference`, and patterns in `modalities` and `annotation`.

    Returns:
        The text of each case in the paths; and the other names, as paths below the raw folder, each with a reason.

    Raises:
        BadInput: something in the raw folder cannot be read.
    """
    tree = tree_of(raw)
    paths = [path.relative_to(raw).as_posix() for path in tree.files]
    wanted = list(block["modalities"][block["reference"]]["file"])
    settings = [*block["modalities"].values(), block["annotation"]]
    others = {pattern for setting in settings for pattern in setting["file"]} - set(wanted)
    sources = {text for path in paths for text in _sources_of(path, wanted, others)}
    used = {
        part
        for path in paths
        for pattern in (*wanted, *others)
        if case_in(pattern, path) in sources
        for part in _parents_and(path)
    }
    beside = {part for path in (*paths, *tree.empty) for pattern in wanted for part in _at_the_case(pattern, path)}
    left_out = beside - used
    outermost = [name for name in left_out if not any(parent in left_out for parent in _parents_and(name)[:-1])]
    own = {part for path in paths for pattern in wanted for part in _at_the_case(pattern, path, of=sources)}
    reason = f"no file like {' or '.join(wanted)}"
    return sources, {name: reason for name in outermost if not own & set(_parents_and(name)[:-1])}


def _sources_of(path: str, wanted: Iterable[str], others: Iterable[str]) -> Iterator[str]:
    """The texts by which a path is an image of the reference, unless it is another file of a shorter one."""
    shorter = {text for pattern in others if (text := case_in(pattern, path))}
    for text in filter(None, (case_in(pattern, path) for pattern in wanted)):
        if not any(text != other and (text.startswith(other) or text.endswith(other)) for other in shorter):
            yield text


def _parents_and(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


def _at_the_case(pattern: str, path: str, *, of: Set[str] | None = None) -> list[str]:
    """The part of a path up to the name in which the pattern has the case, only for a match of some cases if given."""
    before = pattern.split("{case}")[0].count("/")
    parts = path.split("/")
    prefix = _glob_expression("/".join(pattern.split("/")[:before]))
    reaches = len(parts) > before and prefix.fullmatch("/".join(parts[:before]))
    return ["/".join(parts[: before + 1])] if reaches and (of is None or case_in(pattern, path) in of) else []


def _texts(raw: Path, pattern: str, case: str) -> set[str]:
    """The texts of a case in the names where a pattern has it first; only those names are listed."""
    before = pattern.split("{case}")[0].count("/")
    parts = pattern.split("/")
    segment, folders = parts[before], raw.glob("/".join(parts[:before])) if before else [raw]
    alike = re.compile(_own_name(case).join(map(_literal, segment.split("{case}"))))
    found: dict[str, set[str]] = {}
    for folder in folders:
        names = [name for name in _names_in(folder) if alike.fullmatch(name) or not name.isascii()]
        texts = [text for name in names if (text := case_in(segment, name)) and case_name(text) == case]
        found.setdefault(str(folder), set()).update(texts)
    twice = next((texts for texts in found.values() if len(texts) > 1), None)
    if twice:
        raise one_name_twice(raw, [", ".join(sorted(twice))])
    return set().union(*found.values())


def _names_in(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not is_hidden(name)] if folder.is_dir() else []
    except OSError as error:
        raise BadInput(f"{folder}: expected a folder that can be read, got {error.strerror!r}; mend it.") from error


def _own_name(case: str) -> str:
    """Regular expression of the ASCII texts whose case has a name."""
    return "[^/A-Za-z0-9]*" + "".join("[^/A-Za-z0-9]" if letter == "-" else re.escape(letter) for letter in case)


def _is_of(path: Path, pattern: str, text: str) -> bool:
    return not any(map(is_hidden, path.parts)) and case_in(pattern, path.as_posix()) == text


@cache
def _expressions(pattern: str) -> list[re.Pattern[str]]:
    """The regular expressions of a pattern, the strict one first; repeated `{case}` must match the same text."""
    first, *others = pattern.split("{case}")
    between = [_literal(part) for part in others]
    return [re.compile(_literal(first) + f"(?P<case>{case})" + "(?P=case)".join(between)) for case in CASES]


@cache
def _glob_expression(pattern: str) -> re.Pattern[str]:
    return re.compile(_literal(pattern))


def _literal(text: str) -> str:
    return "[^/]*".join(re.escape(part) for part in text.split("*"))
