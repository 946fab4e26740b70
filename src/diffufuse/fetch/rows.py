r"""Manifests as text: a row per file with path, size, hash and source, and last the hash of the manifest itself.

The cells are plain: nothing is quoted. In a path, a character that cannot be printed, and `\`, stand as escapes of
Python, `\t` for a tab; a byte that is not UTF-8 stands as the surrogate that Python reads it as, `\udcfc` for 0xFC.
"""

import csv
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_path

HEADER = b"path\tbytes\tsha256\tsource"
# Of an earlier release, which wrote no hash of the manifest itself and quoted the cells.
EARLIER_HEADER = HEADER + b"\tlicense\tcitation"
OWN_HASH = re.compile(rb"#sha256\t([0-9a-f]{64})\n")
OWN_HASH_BYTES = len("#sha256\t\n") + 64
ROW = re.compile(r"([^\t]+)\t(0|[1-9][0-9]*)\t([0-9a-f]{64})\t([^\t]*)")
ESCAPE = re.compile(r"\\(?:[nrt\\]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


@dataclass(frozen=True)
class Content:
    """Size and hash of a file.

    Attributes:
        bytes: length of the file.
        sha256: of its content, in hexadecimal.
    """

    bytes: int
    sha256: str


def write_manifest(path: str | os.PathLike[str], contents: Mapping[str, Content], *, address: str) -> None:
    """Write one row per raw file: path, bytes, SHA-256, public source; and the SHA-256 of these lines.

    License and citation are not included, so that editing them does not change any result.

    Args:
        path: the manifest, tab-separated.
        contents: of the raw folder.
        address: public source of the data, also if it was copied from a mirror.
    """
    rows = sorted(((_escaped(name), content) for name, content in contents.items()), key=lambda row: row[0])
    lines = [f"{name}\t{content.bytes}\t{content.sha256}\t{_escaped(address)}\n" for name, content in rows]
    body = HEADER + b"\n" + "".join(lines).encode()
    with atomic_path(path) as partial:
        partial.write_bytes(body + f"#sha256\t{hashlib.sha256(body).hexdigest()}\n".encode())


def read_manifest(
    path: str | os.PathLike[str], folders: Iterable[str] | None = None, *, unsigned: bool = False
) -> tuple[dict[str, Content], str]:
    """Read a manifest.

    Args:
        path: from `write_manifest`; the columns `license` and `citation` of an earlier release are ignored.
        folders: paths below the raw folder; only rows of their files are parsed, so that the time for one case does
            not depend on the number of cases. None for all rows.
        unsigned: whether its own hash may be missing, as in those of earlier releases; for a caller who compares all
            of it with the files.

    Returns:
        Path below the raw folder → content; and the source address of the data.

    Raises:
        BadInput: the file is no manifest, cannot be read, or is not as it was written.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: expected a manifest that can be read, got {error.strerror!r}; mend it.") from error
    try:
        if content.startswith(EARLIER_HEADER + b"\n"):
            return _of_earlier_release(content.decode())
        text = _signed(content, unsigned=unsigned).decode()
        return _parsed(text, folders)
    except (ValueError, KeyError, csv.Error) as error:
        raise BadInput(
            f"{path}: expected a manifest as a fetch writes it, got a damaged or edited one, or one without a hash of "
            "itself from an earlier release; remove it and fetch again."
        ) from error


def may_be_cut(path: str | os.PathLike[str]) -> bool:
    """Whether a manifest lacks the hash of itself: it was cut off between two rows, or is of an earlier release."""
    content = Path(path).read_bytes()
    return content.startswith(HEADER + b"\n") and OWN_HASH.fullmatch(content[-OWN_HASH_BYTES:]) is None


def _signed(content: bytes, *, unsigned: bool) -> bytes:
    """The lines before the last one, which must hold their hash."""
    body, last = content[:-OWN_HASH_BYTES], OWN_HASH.fullmatch(content[-OWN_HASH_BYTES:])
    if last is None and unsigned:
        return content
    if last is None or hashlib.sha256(body).hexdigest().encode() != last[1]:
        raise ValueError("not the hash of these lines")
    return body


def _parsed(text: str, folders: Iterable[str] | None) -> tuple[dict[str, Content], str]:
    header, *lines = text.split("\n") if folders is None else _lines_about(folders, text)
    if header != HEADER.decode() or not text.endswith("\n"):
        raise ValueError("another header, or no end")
    rows = [ROW.fullmatch(line) for line in lines if line]
    parsed = [(row[1], Content(int(row[2]), row[3]), row[4]) for row in rows if row]
    if len(parsed) < len(lines) - (folders is None):
        raise ValueError("not all lines are rows")
    if any(first[0] >= second[0] for first, second in pairwise(parsed)):
        raise ValueError("paths that are not sorted")
    names = [_unescaped(path) for path, _, _ in parsed]
    if any({"", ".", ".."} & set(name.split("/")) for name in names):
        raise ValueError("a path that leads outside")
    [address] = {source for _, _, source in parsed} or {""}
    return {name: content for name, (_, content, _) in zip(names, parsed, strict=True)}, _unescaped(address)


def _of_earlier_release(text: str) -> tuple[dict[str, Content], str]:
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t", strict=True))
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("not all lines are rows")
    contents = {row["path"]: Content(int(row["bytes"]), row["sha256"]) for row in rows}
    [address] = {row["source"] for row in rows} or {""}
    return contents, address


def _lines_about(folders: Iterable[str], text: str) -> list[str]:
    """The header, and the lines with a path below one of the folders, which are contiguous as paths are sorted."""
    lines, starts = [text.partition("\n")[0]], sorted(f"{_escaped(folder)}/" if folder else "" for folder in folders)
    for number, start in enumerate(starts):
        if start.startswith(tuple(starts[:number])):
            continue
        place = text.find(f"\n{start}") + 1
        while place and place < len(text) and text.startswith(start, place):
            end = text.find("\n", place)
            lines.append(text[place:end])
            place = end + 1
    return lines


def _escaped(text: str) -> str:
    if text.isprintable() and "\\" not in text:
        return text
    plain = (letter if letter.isprintable() and letter != "\\" else None for letter in text)
    return "".join(kept or _escape(letter) for letter, kept in zip(text, plain, strict=True))


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def _unescaped(text: str) -> str:
    return ESCAPE.sub(lambda escape: escape[0].encode().decode("unicode_escape"), text) if "\\" in text else text
