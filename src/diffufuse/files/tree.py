"""All files below a folder: what cannot be read is refused, never passed over."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.files.names import first_of


@dataclass(frozen=True)
class Tree:
    """What lies below a folder.

    Attributes:
        files: all files, sorted; behind a link stands the link's own path.
        empty: paths below the folder of folders without any file, sorted.
        hidden: number of files and folders that were passed over because their names are hidden.
    """

    files: list[Path]
    empty: list[str]
    hidden: int


@dataclass
class _Walk:
    files: list[Path] = field(default_factory=list)
    folders: dict[str, str] = field(default_factory=dict)  # real path to the path below the folder
    hidden: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def is_hidden(name: str) -> bool:
    """Whether a name is that of no data: it begins with a dot, or is a folder of macOS or of a disk of its own."""
    return name.startswith(".") or name in ("__MACOSX", "lost+found")


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, sorted; see `tree_of`."""
    return tree_of(folder).files


def tree_of(folder: Path, *, wanted: Callable[[str], bool] = lambda _: True) -> Tree:
    """List a folder with all folders in it; links are followed.

    Args:
        folder: hidden names in it are passed over.
        wanted: whether an entry of the folder itself is to be listed, by its name.

    Raises:
        BadInput: something cannot be read, is neither file nor folder, or is a link to nothing, around itself, or to a
            folder that is listed already.
    """
    walk = _Walk()
    _list_into(walk, folder, wanted)
    if walk.refused:
        raise BadInput(f"{folder}: expected files that can be read, got {_shown(walk.refused)}; mend or remove them.")
    files = sorted(walk.files)
    full = {parent for file in files for parent in file.relative_to(folder).parents}
    empty = sorted(relative for relative in walk.folders.values() if relative and Path(relative) not in full)
    return Tree(files, empty, walk.hidden)


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder that are not hidden, sorted by name.

    Raises:
        BadInput: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise BadInput(f"{folder}: expected a folder that can be read, got {error.strerror!r}; mend it.") from error


def _list_into(walk: _Walk, folder: Path, wanted: Callable[[str], bool]) -> None:
    """List a folder and then those in it, without recursion, as the depth is the user's."""
    root = os.path.realpath(folder)
    waiting: list[tuple[str, str, str]] = [(os.fspath(folder), root, "")]
    while waiting:
        place, real, relative = waiting.pop()
        if real in walk.folders or root.startswith(os.path.join(real, "")):
            walk.refused[relative] = f"the folder {walk.folders.get(real) or 'around it'} once more"
            continue
        walk.folders[real] = relative
        for entry in _entries(walk, place, relative):
            below = f"{relative}/{entry.name}" if relative else entry.name
            if is_hidden(entry.name):
                walk.hidden += 1
            elif relative or wanted(entry.name):
                form = _form(walk, entry, below)
                if form == "folder":
                    waiting.append((entry.path, _real(entry, real), below))
                elif form == "file":
                    walk.files.append(folder / below)


def _entries(walk: _Walk, place: str, relative: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            yield from sorted(entries, key=lambda entry: entry.name, reverse=True)
    except OSError as error:
        walk.refused[relative or "."] = str(error.strerror)


def _real(entry: os.DirEntry[str], parent: str) -> str:
    return os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(parent, entry.name)


def _form(walk: _Walk, entry: os.DirEntry[str], below: str) -> str:
    """`file` or `folder`, of a link that of its target; otherwise empty, and the reason is noted."""
    try:
        mode = entry.stat().st_mode if entry.is_symlink() or not entry.is_file(follow_symlinks=False) else stat.S_IFREG
    except OSError as error:
        walk.refused[below] = f"a link to nothing, {error.strerror}" if entry.is_symlink() else str(error.strerror)
        return ""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    walk.refused[below] = "neither a file nor a folder"
    return ""


def _shown(refused: dict[str, str]) -> str:
    """The first names with their reasons, and the count of all."""
    return f"{len(refused)} that cannot: " + first_of([f"{name} ({why})" for name, why in sorted(refused.items())])
