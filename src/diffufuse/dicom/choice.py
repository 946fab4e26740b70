"""Which series is which modality: rules on tags, written down in the catalogue, and a report of what they matched."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.multival import MultiValue

from diffufuse.dicom.series import Series, first_header
from diffufuse.dicom.vocabulary import imaging_words, modality_code
from diffufuse.errors import BadInput

log = logging.getLogger(__name__)

SEQUENCE, WITHOUT = "sequence", "without"
Rule = Mapping[str, Any]


@dataclass(frozen=True)
class Chosen:
    """The series that the rules mean.

    Attributes:
        series: the one that matched.
        sequence: `sequence` of the first rule that it matched; None where that rule names none.
    """

    series: Series
    sequence: str | None


def choose_series(candidates: Sequence[Series], rules: Sequence[Rule], *, required: str | None = None) -> Chosen | None:
    """The one series among the candidates that matches a rule.

    A rule maps keywords of DICOM tags to regular expressions. It matches a series if each is found in the tag's text,
    upper and lower case alike, in the header of the series' first file; several values are joined by a backslash, an
    absent tag is empty text. `without`, a mapping of the same form, excludes a series that matches all of it;
    `sequence` is a name to be recorded. All rules compete: two different series that match two rules are one too many.

    Args:
        candidates: all series of the case.
        rules: the first that a series matches names its sequence.
        required: what the rules look for, for the message; None where it may be absent.

    Returns:
        None where nothing matches and nothing is required.

    Raises:
        BadInput: two series match, or none where one is required (the candidates are listed by modality, size and the
            imaging words of their description), or a rule names an unknown tag or no regular expression.
    """
    matched = [(series, rule) for series in candidates if (rule := _rule_of(series, rules)) is not None]
    if len(matched) > 1:
        raise BadInput(
            f"{_where(candidates)}: expected one series{_for(required)}, got {len(matched)} that match: "
            f"{_listed([series for series, _ in matched])}; narrow the rules or remove a series."
        )
    if not matched:
        if required is None:
            return None
        raise BadInput(
            f"{_where(candidates)}: expected one series{_for(required)}, got none that matches among: "
            f"{_listed(candidates) or 'no series'}; widen the rules or fetch the series."
        )
    ((series, rule),) = matched
    return Chosen(series, rule.get(SEQUENCE))


def choice_report(candidates: Sequence[Series], chosen: Mapping[str, Chosen | None]) -> list[dict[str, Any]]:
    """What was chosen for every modality, and what was left over.

    Args:
        candidates: all series of the case.
        chosen: by modality; None where it is absent.

    Returns:
        A row for each modality, then one for each series that none took: `modality` (empty for what was left),
        `sequence`, `kind` (DICOM's modality), `words` (of imaging, from the description), `files`, `rows`, `columns`.
    """
    taken = {choice.series.uid for choice in chosen.values() if choice}
    rows = [
        {"modality": name, "sequence": choice.sequence or "" if choice else ""}
        | (_shown(choice.series) if choice else dict.fromkeys(("kind", "words"), "") | _size(None))
        for name, choice in chosen.items()
    ]
    left = [series for series in candidates if series.uid not in taken]
    log.info("Chosen: %s; left over: %s.", ", ".join(name for name in chosen if chosen[name]), _listed(left) or "none")
    return rows + [{"modality": "", "sequence": "", **_shown(series)} for series in left]


def first_match(rules: Sequence[Rule], text_of: Callable[[str], str]) -> Rule | None:
    """The first rule that matches, given the text of any tag.

    Raises:
        BadInput: a rule names an unknown tag or no regular expression.
    """
    return next((rule for rule in rules if _matches(rule, text_of)), None)


def _rule_of(series: Series, rules: Sequence[Rule]) -> Rule | None:
    header = first_header(series)
    return first_match(rules, lambda keyword: _text(header, keyword))


def _matches(rule: Rule, text_of: Callable[[str], str]) -> bool:
    wanted = {keyword: pattern for keyword, pattern in rule.items() if keyword not in (SEQUENCE, WITHOUT)}
    unwanted = rule.get(WITHOUT) or {}
    if not wanted:
        raise BadInput("Series rule: expected at least one DICOM keyword with a pattern, got none; add one.")
    return _all_found(wanted, text_of) and not (unwanted and _all_found(unwanted, text_of))


def _all_found(patterns: Mapping[str, Any], text_of: Callable[[str], str]) -> bool:
    return all(_pattern(keyword, pattern).search(text_of(keyword)) for keyword, pattern in patterns.items())


def _pattern(keyword: str, pattern: Any) -> re.Pattern[str]:
    tag = tag_for_keyword(keyword)
    if tag is None or dictionary_VR(tag) == "SQ":
        raise BadInput(f"Series rule: expected the keyword of a DICOM tag with text, got {keyword!r}; correct it.")
    try:
        return re.compile(pattern, re.IGNORECASE)
    except (re.error, TypeError) as error:
        raise BadInput(
            f"Series rule: expected a regular expression for {keyword}, got {pattern!r}; quote it."
        ) from error


def _text(header: pydicom.Dataset, keyword: str) -> str:
    value = header.get(keyword)
    parts = value if isinstance(value, MultiValue) else [value]
    return "\\".join("" if part is None else str(part) for part in parts)


def _where(candidates: Sequence[Series]) -> str:
    return str(candidates[0].files[0].parent) if candidates else "DICOM folder"


def _for(required: str | None) -> str:
    return f" for {required}" if required else ""


def _listed(candidates: Sequence[Series]) -> str:
    return "; ".join(
        f"{row['kind']} '{row['words']}' of {row['files']} files"
        + (f" {row['rows']}x{row['columns']}" if row["rows"] else "")
        for row in map(_shown, candidates)
    )


def _shown(series: Series) -> dict[str, Any]:
    """What may be told of a series without naming anyone."""
    return {"kind": modality_code(series.modality), "words": imaging_words(series.description)} | _size(series)


def _size(series: Series | None) -> dict[str, int]:
    if series is None:
        return {"files": 0, "rows": 0, "columns": 0}
    header = first_header(series)
    return {
        "files": len(series.files),
        "rows": int(header.get("Rows") or 0),
        "columns": int(header.get("Columns") or 0),
    }
