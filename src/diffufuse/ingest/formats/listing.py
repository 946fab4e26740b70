"""The names of a raw folder's cases, and what in the folder is no case and why."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffufuse.errors import BadInput, printable
from diffufuse.files.names import MOST_SHOWN, first_of
from diffufuse.files.tables import write_rows
from diffufuse.logs import PROGRESS

COLUMNS = ("case", "name", "left_out")
LONGEST = 100  # characters of a case's name, which is part of file names of at most 255 bytes
PLAIN = re.compile("[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Listing:
    """The cases of a raw folder.

    Attributes:
        sources: name of each case → its text in paths of the raw folder.
        left_out: what is no case → the reason.
    """

    sources: Mapping[str, str]
    left_out: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """Names of the cases, sorted."""
        return sorted(self.sources)


def case_name(source: str) -> str:
    """The name of a case, of letters, digits and hyphens, from its text in a path.

    Accents are dropped, however they are encoded; every other character, such as `_`, a dot or a space, becomes `-`,
    or is dropped at the start: `Müller.2` is `Muller-2`, and `_1` is `1`.

    Args:
        source: name of a folder or part of a file's name.
    """
    if PLAIN.fullmatch(source):
        return source.replace("_", "-").lstrip("-")
    letters = unicodedata.normalize("NFKD", source)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return re.sub("[^A-Za-z0-9-]", "-", plain).lstrip("-")


def listing_of(raw: Path, sources: Iterable[str], left_out: Mapping[str, str], *, expected: str) -> Listing:
    """Name the cases, and log how many there are, what is no case, and which names are not as in the raw folder.

    Args:
        raw: the raw folder.
        sources: text of each case in the folder's paths.
        left_out: what else is in the folder, with the reason.
        expected: what a case looks like, for the message where there is none.

    Raises:
        BadInput: there is no case, or two would get names that differ at most in case.
    """
    reasons, named = dict(left_out), defaultdict(set)
    for source in sources:
        name = case_name(source)
        if not name:
            reasons[source] = "a name without a Latin letter or a digit, rename it"
        elif len(name) > LONGEST:
            reasons[source] = f"a name of more than {LONGEST} characters, shorten it"
        else:
            named[name.casefold()].add(source)
    twice = sorted(", ".join(sorted(group)) for group in named.values() if len(group) > 1)
    if twice:
        raise one_name_twice(raw, twice)
    listing = Listing({case_name(source): source for [source] in named.values()}, reasons)
    if not listing.sources:
        instead = f" but {first_of(_with_reason(reasons))}" if reasons else ""
        raise BadInput(f"{raw}: expected {expected}, got no case{instead}; correct the folder or the dataset's block.")
    _log(raw, listing)
    return listing


def one_name_twice(raw: Path, groups: Sequence[str]) -> BadInput:
    """The refusal of texts that would be one name; each group is the texts of one name, joined by commas."""
    return BadInput(
        f"{raw}: expected names that differ by more than `_` and `-`, accents, signs and upper case, but one name "
        f"stands twice ({'; '.join(groups[:MOST_SHOWN])}); rename one of each."
    )


def write_names(listing: Listing, path: str | os.PathLike[str]) -> None:
    """Write a row per case with its name in the raw folder, and a row with a reason for all that is no case.

    Args:
        listing: of the raw folder.
        path: tab-separated, with the columns case, name, left_out; `-` stands for none.
    """
    cases = [(case, source, "-") for case, source in sorted(listing.sources.items())]
    rows = [*cases, *(("-", name, reason) for name, reason in sorted(listing.left_out.items()))]
    write_rows([dict(zip(COLUMNS, map(printable, row), strict=True)) for row in rows], path)


def _log(raw: Path, listing: Listing) -> None:
    renamed = [f"{source} is {case}" for case, source in sorted(listing.sources.items()) if not PLAIN.fullmatch(source)]
    PROGRESS.info("%s: %d cases", raw.name, len(listing.sources))
    if renamed:
        PROGRESS.info("%s: %d are named anew: %s", raw.name, len(renamed), first_of(renamed))
    if listing.left_out:
        reasons = first_of(_with_reason(listing.left_out))
        PROGRESS.warning("%s: %d are left out: %s", raw.name, len(listing.left_out), reasons)


def _with_reason(left_out: Mapping[str, str]) -> list[str]:
    return [f"{name} ({reason})" for name, reason in sorted(left_out.items())]
