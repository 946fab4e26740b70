"""Records on disk: flat JSON with sorted keys and no NaN."""

import json
import math
import os
from pathlib import Path
from typing import Any

from diffufuse.files.atomic import atomic_path


def write_record(record: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a JSON record atomically, with sorted keys and no NaN.

    Raises:
        ValueError: a value is NaN or infinite; use None for undefined values.
    """
    text = json.dumps(record, sort_keys=True, indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as partial:
        partial.write_text(text)


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON record."""
    return json.loads(Path(path).read_text())


def none_if_nan(value: float) -> float | None:
    """The value for a record: None for NaN, which JSON does not support."""
    return None if math.isnan(value) else value
