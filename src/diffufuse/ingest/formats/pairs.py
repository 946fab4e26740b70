"""List sets of picture pairs: two pictures of one object with equal names in two folders.

A block has `pair`, which names the modality of the `structure` and that of the `function`, and for each of the two a
list of path patterns of `formats.patterns`. The two lists go together: a picture that matches the second pattern of one
has its partner where the second pattern of the other matches. With a `prefix` the names of pairs begin with it: sets of
one publisher count anew, and a name stands for one object in all tables of a study.
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from diffufuse.errors import BadInput
from diffufuse.files.names import first_of
from diffufuse.files.tree import is_hidden, tree_of
from diffufuse.ingest.formats.listing import Listing, case_name, listing_of
from diffufuse.ingest.formats.patterns import case_in


def list_cases(raw: Path, block: Mapping[str, Any]) -> Listing:
    """List the pairs, and every other file or empty folder with the reason why it is none, hidden ones too.

    Raises:
        BadInput: there is no pair, two would get names that differ at most in case, two files are one picture, or
            something in the raw folder cannot be read.
    """
    return _listed(raw, block)[0]


def find_pairs(raw: Path, block: Mapping[str, Any]) -> dict[str, dict[str, Path]]:
    """Name of each pair → modality → its file, in channel order; see `list_cases`."""
    listing, found = _listed(raw, block)
    return {name: found[source] for name, source in sorted(listing.sources.items())}


def open_case(raw: Path, case: str, block: Mapping[str, Any]) -> NoReturn:
    """Refuse to open one pair, as a set is read in one job.

    Raises:
        BadInput: always.
    """
    raise BadInput(
        f"{raw}: expected the case {case}, but pairs are read as one set; ask for "
        f"results/prepare/{raw.name}/pairs.json, or correct the cohort sheet."
    )


def identities(raw: Path, case: str, block: Mapping[str, Any]) -> frozenset[str]:
    """Return nothing: pictures do not say whose they are."""
    return frozenset()


def case_of_image(path: str, block: Mapping[str, Any]) -> str | None:
    """Return the pair of which a path below the raw folder is a picture; None for other files."""
    found = _place(path, _patterns(block))
    return case_name(_named(found[2], block)) if found else None


def _listed(raw: Path, block: Mapping[str, Any]) -> tuple[Listing, dict[str, dict[str, Path]]]:
    found, left_out = _found(raw, block)
    patterns = [" and ".join(both) for both in zip(*_patterns(block).values(), strict=True)]
    return listing_of(raw, found, left_out, expected=f"pairs of files like {' or '.join(patterns)}"), found


def _patterns(block: Mapping[str, Any]) -> dict[str, list[str]]:
    """Modality to its patterns, in channel order."""
    names = block["pair"].values()
    return {name: list(settings["file"]) for name, settings in block["modalities"].items() if name in names}


def _named(text: str, block: Mapping[str, Any]) -> str:
    return f"{block['prefix']}-{text}" if "prefix" in block else text


def _place(path: str, patterns: Mapping[str, list[str]]) -> tuple[str, int, str] | None:
    """The modality, the number of its pattern and the text of the pair of a path; None where none matches."""
    places = (
        (name, number, text)
        for name, several in patterns.items()
        for number, pattern in enumerate(several)
        if (text := case_in(pattern, path))
    )
    return next(places, None)


def _found(raw: Path, block: Mapping[str, Any]) -> tuple[dict[str, dict[str, Path]], dict[str, str]]:
    """The text of each pair, prefixed → modality → its file; and the path of what is no pair, with the reason."""
    tree, patterns = tree_of(raw), _patterns(block)
    left_out = dict.fromkeys(tree.empty, "an empty folder") | dict.fromkeys(_hidden(raw), "a hidden name")
    pictures: dict[str, dict[str, list[tuple[int, str]]]] = defaultdict(lambda: {name: [] for name in patterns})
    for file in tree.files:
        path = file.relative_to(raw).as_posix()
        place = _place(path, patterns)
        if place is None:
            every = [pattern for several in patterns.values() for pattern in several]
            left_out[path] = f"no file like {' or '.join(every)}"
        else:
            pictures[_named(place[2], block)][place[0]].append((place[1], path))
    pairs = {}
    for text, files in pictures.items():
        _require_one_file_each(raw, files)
        numbers = [number for several in files.values() for number, _ in several]
        if len(numbers) == len(files) and len(set(numbers)) == 1:
            pairs[text] = {name: raw / path for name, [(_, path)] in files.items()}
        else:
            left_out |= {path: _without_partner(files) for several in files.values() for _, path in several}
    return pairs, left_out


def _hidden(raw: Path) -> list[str]:
    """Hidden names, of a hidden folder that alone."""
    below = (path.relative_to(raw) for path in raw.rglob("*") if is_hidden(path.name))
    return sorted(path.as_posix() for path in below if not any(map(is_hidden, path.parts[:-1])))


def _require_one_file_each(raw: Path, files: Mapping[str, list[tuple[int, str]]]) -> None:
    for name, several in files.items():
        if len(several) > 1:
            raise BadInput(
                f"{raw}: expected one file for each picture, got {first_of([path for _, path in several])} for one of "
                f"{name}; keep one, or rename the other together with its partner."
            )


def _without_partner(files: Mapping[str, list[tuple[int, str]]]) -> str:
    absent = [name for name, several in files.items() if not several]
    return f"no partner of {absent[0]} with its name" if absent else "its partner lies in another folder"
