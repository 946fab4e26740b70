"""Names of regions in a structure set or segmentation: matched by patterns, and shown without free text."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from diffufuse.errors import BadInput

HARMLESS_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


def plain_name(text: object) -> str:
    """Return a region's name with plain spaces for those of other widths, and none around it; empty for None.

    Names have them in many languages and editors: they do not break a line, or are as wide as a Chinese letter.
    """
    return "".join(" " if unicodedata.category(letter) == "Zs" else letter for letter in str(text or "")).strip()


def safe_name(name: str) -> str:
    """Return a region's name for messages and records; free text is withheld, as it may name a person or a path."""
    return name if HARMLESS_NAME.fullmatch(name) else "(name withheld)"


def require_no_control(names: Sequence[str], path: Path, *, noun: str) -> None:
    """Raise for a name with a control character, which none can be meant to have: its bytes are damaged."""
    if any(unicodedata.category(character) == "Cc" for name in names for character in name):
        raise BadInput(f"{path}: expected {noun} in plain text, got one with control characters; export it again.")


def matching_names(
    names: Sequence[str], pattern: str, path: Path, *, optional: bool = False, several: bool = False
) -> tuple[int, ...]:
    """Return the indices of the regions whose names match a pattern.

    Args:
        names: names of all regions in the file.
        pattern: regular expression, searched in the name, ignoring case; `^GTV$` is exact.
        path: the file, for messages.
        optional: whether the region may be absent.
        several: whether more than one may match.

    Returns:
        One index; several if so chosen; none if the region is optional and absent.

    Raises:
        BadInput: several names match though one is expected, or none and it is not optional.
    """
    matches = tuple(index for index, name in enumerate(names) if re.search(pattern, name, re.IGNORECASE))
    if len(matches) == 1 or (several and matches) or (optional and not matches):
        return matches
    listed = ", ".join(repr(safe_name(names[index])) for index in matches or range(len(names))) or "no ROI at all"
    way_on = f", or join them by {{pattern: {pattern!r}, several: union}} in place of the pattern" if matches else ""
    raise BadInput(
        f"{path}: expected {'at least ' if several else ''}one ROI that matches {pattern!r}, but {len(matches)} of "
        f"{len(names)} do ({'these match' if matches else 'the file has'}: {listed}); change the pattern{way_on}."
    )
