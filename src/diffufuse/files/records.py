"""Records on disk: flat JSON with sorted keys and no NaN."""

import json
import math
import os
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_path


def write_record(record: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a JSON record atomically, with sorted keys and no NaN.

    Raises:
        ValueError: a value is NaN or infinite; use None for undefined values.
    """
    text = json.dumps(record, sort_keys=True, indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON record.

    Raises:
        BadInput: the file cannot be read, is damaged, has a key twice, or holds NaN or another form.
    """
    try:
        record = json.loads(
            Path(path).read_text(encoding="utf-8"), object_pairs_hook=_without_doubles, parse_constant=_refuse
        )
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise BadInput(f"{path}: expected a JSON record, but it cannot be read ({reason}); make it again.") from error
    if not isinstance(record, dict):
        raise BadInput(f"{path}: expected a JSON record of names and values, got another form; make it again.")
    return record


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys stand once; JSON itself lets the last one win."""
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key stands twice")
    return record


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def none_if_nan(value: float) -> float | None:
    """The value for a record: None for NaN, which JSON does not support."""
    return None if math.isnan(value) else value
