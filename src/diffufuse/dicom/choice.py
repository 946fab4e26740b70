"""Select the DICOM series of each modality by rules on its tags, and report the selection."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from diffufuse.dicom.elements import text_of, value_of, whole_number
from diffufuse.dicom.series import Series, first_header
from diffufuse.dicom.uniform import texts_of
from diffufuse.dicom.vocabulary import imaging_words, modality_code
from diffufuse.errors import BadInput

log = logging.getLogger(__name__)

SEQUENCE, WITHOUT = "sequence", "without"
Rule = Mapping[str, Any]


@dataclass(frozen=True)
class Chosen:
    """The series selected by the rules.

    Attributes:
        series: the matching series.
        sequence: `sequence` of the first rule that it matched; None where that rule sets none.
    """

    series: Series
    sequence: str | None


def choose_series(candidates: Sequence[Series], rules: Sequence[Rule], *, required: str | None = None) -> Chosen | None:
    """Return the one candidate series that matches a rule.

    A rule maps keywords of DICOM tags to regular expressions. A series matches if every expression is found, ignoring
    case, in the tags of its first file's header; multiple values are joined by a backslash, and an absent tag is empty
    text. `without`, a mapping of the same form, excludes a series that matches all of it; `sequence` is a name to
    record. Only one series may match, whichever of the rules it matches.

    Args:
        candidates: all series of the case.
        rules: in order of priority; the first rule that a series matches sets its sequence.
        required: name of the series for the error message; None where the series is optional.

    Returns:
        The matching series; None where none matches and `required` is None.

    Raises:
        BadInput: more than one series matches, or a required one is missing (the message lists the candidates by
            modality, size and the imaging terms of their description), or a rule has an unknown tag or an invalid
            expression.
    """
    matched = [(series, rule) for series in candidates if (rule := _rule_of(series, rules)) is not None]
    if len(matched) > 1:
        raise BadInput(
            f"{_where(candidates)}: expected one series{_for(required)}, got {len(matched)} that match: "
            f"{listed([series for series, _ in matched])}; narrow the rules or remove a series."
        )
    if not matched:
        if required is None:
            return None
        raise BadInput(
            f"{_where(candidates)}: expected one series{_for(required)}, got none that matches among: "
            f"{listed(candidates) or 'no series'}; widen the rules or fetch the series."
        )
    ((series, rule),) = matched
    return Chosen(series, rule.get(SEQUENCE))


def choice_report(candidates: Sequence[Series], chosen: Mapping[str, Chosen | None]) -> list[dict[str, Any]]:
    """Return a table of the series chosen for each modality and of the remaining series.

    Args:
        candidates: all series of the case.
        chosen: modality to its series; None where it is absent.

    Returns:
        One row per modality, then one per remaining series: `modality` (empty for a remaining series), `sequence`,
        `kind` (DICOM modality), `words` (imaging terms of the description), `files`, `rows`, `columns`.
    """
    taken = {choice.series.uid for choice in chosen.values() if choice}
    rows = [
        {"modality": name, "sequence": choice.sequence or "" if choice else ""}
        | (_summary(choice.series) if choice else dict.fromkeys(("kind", "words"), "") | _size(None))
        for name, choice in chosen.items()
    ]
    unused = [series for series in candidates if series.uid not in taken]
    log.info("Chosen: %s; left over: %s.", ", ".join(name for name in chosen if chosen[name]), listed(unused) or "none")
    return rows + [{"modality": "", "sequence": "", **_summary(series)} for series in unused]


def first_match(rules: Sequence[Rule], text_of: Callable[[str], str]) -> Rule | None:
    """Return the first rule that matches, or None.

    Args:
        rules: as in `choose_series`.
        text_of: returns a tag's text by its keyword.

    Raises:
        BadInput: a rule has an unknown tag or an invalid regular expression.
    """
    return next((rule for rule in rules if _matches(rule, text_of)), None)


def _rule_of(series: Series, rules: Sequence[Rule]) -> Rule | None:
    """Return the rule that the first file matches; most of the others must match it too."""
    header, path = first_header(series), series.files[0]
    rule = first_match(rules, lambda keyword: text_of(header, keyword, path))
    keywords = {keyword for one in rules for keyword in (*one, *(one.get(WITHOUT) or ()))} - {SEQUENCE, WITHOUT}
    if any(len(set(texts_of(series.opened, keyword))) > 1 for keyword in keywords):
        _require_usual(rule, series, rules)
    return rule


def _require_usual(rule: Rule | None, series: Series, rules: Sequence[Rule]) -> None:
    matched = [
        first_match(rules, lambda keyword, file=file: text_of(file.header, keyword, file.path))  # type: ignore[misc]
        for file in series.opened
    ]
    same = sum(other is rule for other in matched)
    if same <= 1 < len(matched) - same:
        raise BadInput(
            f"{series.files[0]}: expected the tags of the other {len(matched) - same} files of its series, which match "
            "another rule or none; fetch the file again, or remove it if it is of another series."
        )


def _matches(rule: Rule, text_of: Callable[[str], str]) -> bool:
    required = {keyword: pattern for keyword, pattern in rule.items() if keyword not in (SEQUENCE, WITHOUT)}
    excluded = rule.get(WITHOUT) or {}
    if not required:
        raise BadInput("Series rule: expected at least one DICOM keyword with a pattern, got none; add one.")
    return _all_match(required, text_of) and not (excluded and _all_match(excluded, text_of))


def _all_match(patterns: Mapping[str, Any], text_of: Callable[[str], str]) -> bool:
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


def _where(candidates: Sequence[Series]) -> str:
    return str(candidates[0].files[0].parent) if candidates else "DICOM folder"


def _for(required: str | None) -> str:
    return f" for {required}" if required else ""


def listed(candidates: Sequence[Series]) -> str:
    """Return series by modality, imaging terms and size, for messages."""
    return "; ".join(
        f"{row['kind']} '{row['words']}' of {row['files']} files"
        + (f" {row['rows']}x{row['columns']}" if row["rows"] else "")
        for row in map(_summary, candidates)
    )


def _summary(series: Series) -> dict[str, Any]:
    """Describe a series without text that could identify a person."""
    return {"kind": modality_code(series.modality), "words": imaging_words(series.description)} | _size(series)


def _size(series: Series | None) -> dict[str, int]:
    if series is None:
        return {"files": 0, "rows": 0, "columns": 0}
    header = first_header(series)
    return {"files": len(series.files)} | {
        keyword.lower(): 0
        if value_of(header, keyword, series.files[0]) is None
        else whole_number(header, keyword, series.files[0])
        for keyword in ("Rows", "Columns")
    }
