"""What the headers of one PET series say, the same in all slices or a refusal."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword

from diffufuse.errors import BadInput

INJECTION = "RadiopharmaceuticalInformationSequence"
INJECTION_TAGS = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
)
ASKED = (
    *("Units", "SUVType", "CorrectedImage", "DecayCorrection", "PatientWeight", INJECTION, *INJECTION_TAGS),
    *("SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "TimezoneOffsetFromUTC"),
    *("DecayFactor", "FrameReferenceTime", "ActualFrameDuration"),
)
ASKED_TAGS = tuple(tag_for_keyword(keyword) or 0 for keyword in ASKED)
PRIVATE_GROUPS = (0x0009, 0x0071, 0x7053)
CODE = re.compile(r"[A-Z0-9_ ]{1,16}")


def distinct(headers: Sequence[pydicom.Dataset]) -> list[pydicom.Dataset]:
    """One header of each kind that differs from the others in a tag that SUV depends on.

    The 100s of slices of a series mostly say the same; told apart by their undecoded bytes, they are asked once.
    """
    found: dict[tuple[Any, ...], pydicom.Dataset] = {}
    for header in headers:
        private = tuple(tag for tag in header.keys() if tag >> 16 in PRIVATE_GROUPS)  # noqa: SIM118
        found.setdefault(_undecoded(header, ASKED_TAGS + private), header)
    return list(found.values())


def one_of(headers: Sequence[pydicom.Dataset], keyword: str) -> str:
    """A tag's value as text, empty if it is absent.

    Raises:
        BadInput: slices differ in it, or it cannot be read.
    """
    values = {text_of(header, keyword) for header in headers}
    if len(values) != 1:
        raise refusal(headers, f"expected one {keyword} in all slices, got {len(values)}; separate the acquisitions")
    return values.pop()


def text_of(header: pydicom.Dataset, keyword: str) -> str:
    """One header's value of a tag as text, empty if it is absent.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        value = header.get(keyword)
    except (ValueError, TypeError) as error:
        raise refusal([header], f"expected a readable {keyword}; correct the tag") from error
    return "" if value is None else str(value)


def private_of(headers: Sequence[pydicom.Dataset], group: int, element: int, creator: str) -> str:
    """A vendor's own tag as text, empty if it is absent.

    Args:
        headers: of every slice.
        group: of the tag.
        element: of the tag within its creator's block.
        creator: who reserved the block.

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
    """The one injection that every slice describes, by keyword.

    Some exporters lift the tags out of their sequence to the top of the header. They mean the same there, so that they
    are taken from either place as long as the places do not contradict each other.

    Raises:
        BadInput: several radiopharmaceuticals, none, or slices or places that differ.
    """
    found: list[list[pydicom.Dataset]] = [[*_items(header, headers), header] for header in headers]
    given = {keyword: _agreed(found, keyword, headers) for keyword in INJECTION_TAGS}
    if not any(given.values()):
        raise refusal(headers, f"expected one item in {INJECTION}, which is missing or empty; export it with its tags")
    return given


def number_within(
    text: str, limits: tuple[float, float], what: str, headers: Sequence[pydicom.Dataset], *, hint: str = ""
) -> float:
    """A tag's text as a number.

    Args:
        text: of the tag.
        limits: the least and the greatest that is plausible.
        what: keyword and unit, for the message.
        headers: for the file's name in the message.
        hint: what an implausible number may be.

    Raises:
        BadInput: it is no number or not plausible.
    """
    number = number_of(text)
    if not limits[0] <= number <= limits[1]:
        shown = "none" if math.isnan(number) else f"{number:g}{hint}"
        raise refusal(
            headers, f"expected {what} between {limits[0]:g} and {limits[1]:g}, got {shown}; enter the measured value"
        )
    return number


def number_of(text: str) -> float:
    """A tag's text as a number, NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def shown(code: str) -> str:
    """A coded value as messages may show it: free text in its place may name a person."""
    return code if CODE.fullmatch(code) else "none" if not code else "free text"


def refusal(headers: Sequence[pydicom.Dataset], reason: str) -> BadInput:
    """The one sentence that a series is refused with."""
    return BadInput(f"{getattr(headers[0], 'filename', 'PET header')}: {reason}.")


def _undecoded(header: pydicom.Dataset, tags: Iterable[int]) -> tuple[Any, ...]:
    """What a header says in some tags, and in all tags of their sequences' items, to be compared but not understood."""
    values = [(tag, getattr(header.get_item(tag), "value", None)) for tag in tags]
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
        yield (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")).strip(" \0")


def _items(header: pydicom.Dataset, headers: Sequence[pydicom.Dataset]) -> list[pydicom.Dataset]:
    sequence = header.get(INJECTION)
    if not sequence:
        return []
    if not isinstance(sequence, pydicom.Sequence):
        raise refusal(headers, f"expected a sequence in {INJECTION}; export it again")
    if len(sequence) > 1:
        raise refusal(
            headers, f"expected one radiopharmaceutical in {INJECTION}, got {len(sequence)}; no rule mixes their doses"
        )
    return list(sequence)


def _agreed(found: list[list[pydicom.Dataset]], keyword: str, headers: Sequence[pydicom.Dataset]) -> str:
    """A tag's value in each slice, wherever it stands there; one for all slices."""
    by_slice = [{text_of(place, keyword) for place in places} - {""} for places in found]
    if any(len(values) > 1 for values in by_slice):
        raise refusal(headers, f"expected one {keyword}, but the header and its {INJECTION} differ; correct the tag")
    values = {"".join(values) for values in by_slice}
    if len(values) > 1:
        raise refusal(headers, f"expected one {keyword} in all slices; separate the acquisitions")
    return values.pop()
