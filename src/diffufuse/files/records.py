"""Records on disk: JSON with sorted keys, no NaN, and a checksum."""

import json
import math
import os
from typing import Any

from diffufuse.files.sealed import BLANK, CHECKSUM, not_as_written, read_sealed, write_sealed

WHAT = "a JSON record"


def record_text(record: dict[str, Any]) -> str:
    """The text of a record, with sorted keys and no NaN.

    Raises:
        ValueError: a value is NaN or infinite; use None for undefined values.
    """
    return json.dumps(record, sort_keys=True, indent=2, allow_nan=False) + "\n"


def write_record(record: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a JSON record atomically, with its checksum.

    Raises:
        ValueError: a value is NaN or infinite; use None for undefined values.
    """
    write_sealed(record_text({**record, CHECKSUM: BLANK}).encode(), path)


def read_record(path: str | os.PathLike[str], *, remove: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Read a JSON record and compare its checksum, which is left out of what is returned.

    Args:
        path: the file.
        remove: what to remove so that the record is made anew, for the message; by default the file.

    Raises:
        BadInput: the file is missing, cannot be read, has no checksum or another content.
    """
    content = read_sealed(path, WHAT, remove=remove)
    try:
        record: dict[str, Any] = json.loads(content)
        del record[CHECKSUM]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise not_as_written(path, WHAT, "it is of another form", remove=remove) from error
    return record


def none_if_nan(value: float) -> float | None:
    """The value for a record: None for NaN, which JSON does not support."""
    return None if math.isnan(value) else value
