"""Read tags of a PET series that must agree in all slices."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword

from diffufuse.dicom.elements import UNREADABLE, items_of, value_of
from diffufuse.errors import BadInput

INJECTION = "RadiopharmaceuticalInformationSequence"
INJECTION_TAGS = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
)
SUV_KEYWORDS = (
    *("Units", "SUVType", "CorrectedImage", "DecayCorrection", "PatientWeight", INJECTION, *INJECTION_TAGS),
    *("SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "TimezoneOffsetFromUTC"),
    *("DecayFactor", "FrameReferenceTime", "ActualFrameDuration"),
)
SUV_TAGS = tuple(tag_for_keyword(keyword) or 0 for keyword in SUV_KEYWORDS)
PRIVATE_GROUPS = (0x0009, 0x0071, 0x7053)
CODE = re.compile(r"[A-Z0-9_ ]{1,16}")


def distinct(headers: Sequence[pydicom.Dataset]) -> list[pydicom.Dataset]:
    """Return the headers that differ in a tag on which SUV depends, one of each kind.

    Most slices of a series agree; headers are compared by their undecoded bytes, so that each value is parsed once.
    """
    headers_by_values: dict[tuple[Any, ...], pydicom.Dataset] = {}
    for header in headers:
        private = tuple(tag for tag in header.keys() if tag >> 16 in PRIVATE_GROUPS)  # noqa: SIM118
        headers_by_values.setdefault(_undecoded(header, SUV_TAGS + private), header)
    return list(headers_by_values.values())


def one_of(headers: Sequence[pydicom.Dataset], keyword: str) -> str:
    """Return a tag's value as text, empty if it is absent.

    Raises:
        BadInput: slices differ in it, or it cannot be read.
    """
    values = {text_of(header, keyword) for header in headers}
    if len(values) != 1:
        raise refusal(headers, f"expected one {keyword} in all slices, got {len(values)}; separate the acquisitions")
    return values.pop()


def text_of(header: pydicom.Dataset, keyword: str, path: Path | None = None) -> str:
    """Return a tag's value in one header as text, empty if it is absent.

    Args:
        header: a header, or an item of one of its sequences.
        keyword: keyword of the tag.
        path: the file of an item, for the error message.

    Raises:
        BadInput: it cannot be read.
    """
    value = value_of(header, keyword, path or file_of(header))
    return "" if value is None else str(value)


def private_of(headers: Sequence[pydicom.Dataset], group: int, element: int, creator: str) -> str:
    """Return a private tag as text, empty if it is absent.

    Args:
        headers: headers of all slices.
        group: group of the tag.
        element: element of the tag within its creator's block.
        creator: private creator that reserved the block.

    Raises:
        BadInput: slices differ in it.
    """
    values = set(_private_values(headers, group, element, creator))
    if len(values) > 1:
        raise refusal(
            headers, f"expected one ({group:04X},xx{element:02X}) of {creator} in all slices; separate the acquisitions"
        )
    return values.pop() if values else ""


def injection_of(headers: Sequence[pydicom.Dataset]) -> dict[str, str]:
    """Return the injection tags, keyword to text, which must agree in all slices.

    Some exporters move the tags from their sequence to the top level of the header. They are read from both places,
    which must not contradict each other.

    Raises:
        BadInput: there are no or several radiopharmaceuticals, or slices or places differ.
    """
    datasets: list[list[pydicom.Dataset]] = [[*_items(header, headers), header] for header in headers]
    injection = {keyword: _agreed(datasets, keyword, headers) for keyword in INJECTION_TAGS}
    if not any(injection.values()):
        raise refusal(headers, f"expected one item in {INJECTION}, which is missing or empty; export it with its tags")
    return injection


def number_within(
    text: str, limits: tuple[float, float], what: str, headers: Sequence[pydicom.Dataset], *, hint: str = ""
) -> float:
    """Return a tag's text as a number within plausible limits.

    Args:
        text: text of the tag.
        limits: smallest and largest plausible value.
        what: keyword and unit, for the error message.
        headers: provide the file name for the error message.
        hint: explanation of an implausible number, appended to the message.

    Raises:
        BadInput: the text is not a number, or the number is implausible.
    """
    number = number_of(text)
    if not limits[0] <= number <= limits[1]:
        value = "none" if math.isnan(number) else f"{number:g}{hint}"
        raise refusal(
            headers, f"expected {what} between {limits[0]:g} and {limits[1]:g}, got {value}; enter the measured value"
        )
    return number


def number_of(text: str) -> float:
    """Return a tag's text as a number, NaN if it is not one."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def code_for_message(code: str) -> str:
    """Return a coded value for messages; free text is withheld, as it may name a person."""
    return code if CODE.fullmatch(code) else "none" if not code else "free text"


def refusal(headers: Sequence[pydicom.Dataset], reason: str) -> BadInput:
    """Return the error for a series, naming its first file."""
    return BadInput(f"{file_of(headers[0])}: {reason}.")


def file_of(header: pydicom.Dataset) -> Path:
    """Return the file of a header, for messages."""
    return Path(getattr(header, "filename", None) or "PET header")


def _undecoded(header: pydicom.Dataset, tags: Iterable[int]) -> tuple[Any, ...]:
    """Return the undecoded values of tags, including those in sequence items, for comparison."""
    values = [(tag, getattr(header.get_item(tag, keep_deferred=True), "value", None)) for tag in tags]
    return tuple(
        (tag, tuple(_undecoded(item, item.keys()) for item in value))
        if isinstance(value, pydicom.Sequence)
        else (tag, str(value))
        for tag, value in values
    )


def _private_values(headers: Sequence[pydicom.Dataset], group: int, element: int, creator: str) -> Iterable[str]:
    for header in headers:
        try:
            value = header.get_private_item(group, element, creator).value
        except KeyError:
            yield ""
            continue
        except UNREADABLE as error:
            raise refusal([header], f"expected a readable ({group:04X},xx{element:02X}) of {creator}") from error
        yield (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")).strip(" \0")


def _items(header: pydicom.Dataset, headers: Sequence[pydicom.Dataset]) -> list[pydicom.Dataset]:
    sequence = items_of(header, INJECTION, file_of(header))
    if len(sequence) > 1:
        raise refusal(
            headers, f"expected one radiopharmaceutical in {INJECTION}, got {len(sequence)}; no rule mixes their doses"
        )
    return sequence


def _agreed(datasets: list[list[pydicom.Dataset]], keyword: str, headers: Sequence[pydicom.Dataset]) -> str:
    """Return the value of an injection tag, from either place in the header, which must agree in all slices."""
    by_slice = [
        {text_of(dataset, keyword, file_of(header)) for dataset in slice_datasets} - {""}
        for slice_datasets, header in zip(datasets, headers, strict=True)
    ]
    if any(len(values) > 1 for values in by_slice):
        raise refusal(headers, f"expected one {keyword}, but the header and its {INJECTION} differ; correct the tag")
    values = {"".join(values) for values in by_slice}
    if len(values) > 1:
        raise refusal(headers, f"expected one {keyword} in all slices; separate the acquisitions")
    return values.pop()
