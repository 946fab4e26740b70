"""Read elements of a DICOM header: pydicom decodes each when it is first read, so any of them may turn out damaged."""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from diffufuse.errors import BadInput

# pydicom has no common error class: a damaged file surfaces as whatever its parser, a codec or NumPy meets first.
UNREADABLE = (Exception,)
UNKNOWN_LENGTH = 0xFFFFFFFF

# Warnings of both libraries quote values, which may name the patient; what is wrong with a file is checked here.
config.settings.reading_validation_mode = config.IGNORE
for library in ("pydicom", "highdicom"):
    logging.getLogger(library).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")


@cache
def tag_of(keyword: str) -> BaseTag:
    """Return the tag of a keyword; of an unknown one, a tag that no dataset holds."""
    return Tag(tag_for_keyword(keyword) or 0)


def value_of(dataset: pydicom.Dataset, keyword: str, path: Path) -> Any:
    """Return the value of a tag; None where it is absent or empty.

    Args:
        dataset: a header, or an item of one of its sequences.
        keyword: keyword of the tag.
        path: the file, for the error message.

    Raises:
        BadInput: the value cannot be decoded.
    """
    tag = tag_of(keyword)
    if dataset.get_item(tag, keep_deferred=True) is None:
        return None
    try:
        value = dataset[tag].value
    except UNREADABLE as error:
        raise BadInput(
            f"{path}: expected a readable {keyword}, but decoding it failed ({kind_of(error)}); export it again."
        ) from error
    return None if isinstance(value, str | bytes) and not value else value


def text_of(dataset: pydicom.Dataset, keyword: str, path: Path) -> str:
    """Return the value of a tag as text, multiple values joined by a backslash; empty where it is absent.

    Raises:
        BadInput: the value cannot be decoded.
    """
    value = value_of(dataset, keyword, path)
    if value is None or isinstance(value, str):
        return value or ""
    parts = value if isinstance(value, list | tuple | MultiValue) else [value]
    return "\\".join("" if part is None else str(part) for part in parts)


def items_of(dataset: pydicom.Dataset, keyword: str, path: Path) -> list[pydicom.Dataset]:
    """Return the items of a sequence, an empty list where it is absent.

    Raises:
        BadInput: it cannot be decoded, or holds something else.
    """
    value = value_of(dataset, keyword, path)
    if value is None:
        return []
    if not isinstance(value, pydicom.Sequence):
        raise BadInput(f"{path}: expected a sequence in {keyword}, got something else; export it again.")
    return list(value)


def numbers(dataset: pydicom.Dataset, keyword: str, count: int, path: Path) -> np.ndarray:
    """Return the `count` finite numbers of a tag.

    Args:
        dataset: a header, or an item of one of its sequences.
        keyword: keyword of the tag.
        count: required number of values.
        path: the file, for the error message.

    Raises:
        BadInput: the tag is absent or malformed.
    """
    value = value_of(dataset, keyword, path)
    try:
        values = np.atleast_1d(np.asarray(value, float))
    except UNREADABLE:
        values = np.array([np.nan])
    if values.shape != (count,) or not np.isfinite(values).all():
        raise BadInput(
            f"{path}: expected {count} number(s) in {keyword}, which is missing or malformed; export it again."
        )
    return values


def whole_number(dataset: pydicom.Dataset, keyword: str, path: Path, *, least: int = 0) -> int:
    """Return the one whole number of a tag.

    Raises:
        BadInput: the tag is absent, malformed, not whole, or below `least`.
    """
    value = value_of(dataset, keyword, path)
    number = value if type(value) is int else float(numbers(dataset, keyword, 1, path)[0])
    if number < least or number != math.floor(number):
        raise BadInput(f"{path}: expected {keyword} of at least {least}, got {number:g}; export it again.")
    return int(number)


def kind_of(error: BaseException) -> str:
    """Return the class name of an error; its text may quote the file, and thus patient data."""
    return f"{type(error).__module__}.{type(error).__name__}".removeprefix("builtins.")


@contextmanager
def refusing(place: Path, kind: str = "file") -> Iterator[None]:
    """Turn any error that a damaged DICOM file causes into BadInput.

    Args:
        place: file or folder, for the message.
        kind: what the file should be, for the message.
    """
    try:
        yield
    except BadInput:
        raise
    except UNREADABLE as error:
        raise BadInput(
            f"{place}: expected a whole DICOM {kind}, but reading it failed ({kind_of(error)}); fetch or "
            "export it again."
        ) from error
