"""Seeded damage to a file, and what the library makes of it.

`test_fuzz.py` runs every target; `python -m fuzz 500` in this folder's parent prints the table.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from shutil import rmtree

import numpy as np

from diffufuse.errors import BadInput

FAMILIES: tuple[str, ...] = (
    "archives",
    "dicom",
    "manifest",
    "nifti",
    "pictures",
    "results",
    "structures",
    "tables",
)
REFUSED, SAME, PAYLOAD, CHANGED, TRACEBACK = OUTCOMES = ("refused", "same", "payload", "changed", "traceback")
LONGEST_RUN = 64


@dataclass(frozen=True)
class Target:
    """A file that is damaged, and how it is read.

    Attributes:
        name: kind of file; becomes the test's id.
        make: writes whole, valid files into an empty folder.
        damaged: path below that folder of the one file to damage.
        read: reads the folder as the library does; returns everything a later stage uses, by name.
        unprotected: names in what is read whose bytes no redundancy of the format protects, such as pixels.
    """

    name: str
    make: Callable[[Path], None]
    damaged: str
    read: Callable[[Path], Mapping[str, object]]
    unprotected: tuple[str, ...] = ()


def targets() -> list[Target]:
    """All targets, by family."""
    return [target for family in FAMILIES for target in import_module(f"fuzz.{family}").TARGETS]


def damages(content: bytes, *, tries: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Return damaged copies of a file, each with a description: flipped bits, zeroed runs, cuts and insertions."""
    generator = np.random.default_rng(seed)
    for number in range(tries):
        at = int(generator.integers(len(content)))
        run = int(generator.integers(1, LONGEST_RUN + 1))
        before, after = content[:at], content[at:]
        match number % 5:
            case 0:
                bit = int(generator.integers(8))
                yield f"bit {bit} of byte {at} flipped", before + bytes([after[0] ^ 1 << bit]) + after[1:]
            case 1:
                yield f"{run} bytes zeroed at {at}", before + bytes(len(after[:run])) + after[run:]
            case 2:
                yield f"cut at {at}", before
            case 3:
                yield f"{run} bytes lost at {at}", before + after[run:]
            case _:
                yield f"{run} bytes inserted at {at}", before + generator.bytes(run) + after


def outcomes(target: Target, folder: Path, *, tries: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Damage a target's file many times and read it; yields the description of each damage and its outcome."""
    whole = folder / "whole"
    whole.mkdir(parents=True)
    target.make(whole)
    content, expected = (whole / target.damaged).read_bytes(), target.read(whole)
    for number, (damage, changed) in enumerate(damages(content, tries=tries, seed=seed)):
        place = folder / str(number)
        place.mkdir()
        target.make(place)
        (place / target.damaged).write_bytes(changed)
        yield damage, _outcome(target, place, expected)
        rmtree(place)


def counted(target: Target, folder: Path, *, tries: int, seed: int = 0) -> Counter[str]:
    """Number of damages by outcome."""
    return Counter(outcome.partition(":")[0] for _, outcome in outcomes(target, folder, tries=tries, seed=seed))


def _outcome(target: Target, folder: Path, expected: Mapping[str, object]) -> str:
    try:
        found = target.read(folder)
    except BadInput as refusal:
        return REFUSED if "\n" not in str(refusal) and str(refusal).isprintable() else f"{TRACEBACK}: {refusal!r}"
    except Exception as error:  # noqa: BLE001 - whatever comes here is what the test looks for
        return f"{TRACEBACK}: {error!r}"
    differing = [name for name in expected if not _equal(expected[name], found.get(name))]
    if not differing:
        return SAME
    return PAYLOAD if set(differing) <= set(target.unprotected) else f"{CHANGED}: {', '.join(differing)}"


def _equal(first: object, second: object) -> bool:
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return first.shape == second.shape and bool(np.array_equal(first, second))
    return type(first) is type(second) and first == second
