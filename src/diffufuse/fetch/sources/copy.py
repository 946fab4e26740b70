"""Local copies, as a folder or an archive: of data that may not be downloaded, and as a mirror of other data."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from diffufuse.errors import FULL, BadInput
from diffufuse.fetch.disk import full_disk_reported, require_space
from diffufuse.fetch.extent import Extent
from diffufuse.fetch.unpacking import Wanted, is_archive, is_data, log_passed_over, unpack, what_is_wanted
from diffufuse.files.atomic import atomic_path
from diffufuse.files.digests import sha256_of
from diffufuse.files.names import near
from diffufuse.files.tree import Tree, entries_of, tree_of
from diffufuse.logs import PROGRESS, Progress

THREADS = 4


def fetch(raw: Path, source: Mapping[str, Any], *, study_seed: int) -> None:
    """Raise an error, as this data must be provided as a mirror.

    Args:
        raw: the raw folder.
        source: its `mirror` gives names for the folder or archive.
        study_seed: not used.

    Raises:
        BadInput: always; with a mirror this is not called.
    """
    names = " or ".join(mirror_names(source))
    raise BadInput(
        f"{raw}: expected a copy of your own, for this data is not downloaded; accept its terms, put it into a "
        f"FOLDER as {names} (a folder, .zip, .tar or .tar.gz), and fetch with --config mirror=FOLDER."
    )


def extent(source: Mapping[str, Any]) -> Extent:
    """Size of the data that the user must provide."""
    return Extent(cases=source.get("cases"), bytes=source.get("bytes"))


def address(source: Mapping[str, Any]) -> str:
    """Source of the data: a copy of the user."""
    return "copy"


def mirror_names(source: Mapping[str, Any]) -> list[str]:
    """Possible names of the dataset's copy in the mirror folder, the preferred one first."""
    names = source.get("mirror", [])
    return [names] if isinstance(names, str) else list(names)


def find_mirror(mirror: Path, source: Mapping[str, Any]) -> Path:
    """Path of a dataset's copy in the mirror folder: the first of its names that exists.

    Args:
        mirror: the folder that `--config mirror=FOLDER` names.
        source: the dataset's `source`, with `mirror`.

    Raises:
        BadInput: none exists, or the folder cannot be read.
    """
    places = [mirror / name for name in mirror_names(source)]
    try:
        local_copy = next((place for place in places if place.is_dir() or is_archive(place)), None)
    except OSError as error:
        raise BadInput(f"{mirror}: expected a folder that can be read, got {error.strerror!r}; mend it.") from error
    if local_copy is None:
        names = " or ".join(mirror_names(source))
        raise BadInput(
            f"{mirror}: expected the dataset as {names}, but there is no such folder or archive"
            f"{_instead(mirror, mirror_names(source))}; correct the mirror, or source.mirror in config/datasets.yaml."
        )
    return local_copy


def _instead(mirror: Path, names: list[str]) -> str:
    """What is in the mirror under a name like one of those, if anything; a dataset's names are no patient's."""
    if not mirror.is_dir():
        return ", nor the mirror itself"
    there = [entry.name for entry in entries_of(mirror)]
    return next((hint.rstrip("?") for name in names if (hint := near(name, there))), "")


def bring(local_copy: Path, raw: Path, *, folder: str | None, only: Wanted) -> None:
    """Copy a folder, or unpack an archive, into the raw folder; identical files are not copied again.

    Links in the folder are followed, and what they lead to is copied. Empty folders and hidden names are logged.

    Args:
        local_copy: the user's folder or archive.
        raw: the raw folder.
        folder: in an archive, the folder to unpack.
        only: pattern or patterns of the top-level names to copy.

    Raises:
        BadInput: the archive is not valid, something in the folder cannot be read, or the disk is full.
    """
    PROGRESS.info("Taking the copy %s", local_copy.name)
    if not local_copy.is_dir():
        unpack(local_copy, raw, folder=folder, only=only)
        return
    chosen = _chosen(local_copy, only)
    if not chosen.files:
        raise BadInput(
            f"{local_copy}: expected {what_is_wanted(only)} in the folder, but it holds none; correct the mirror or "
            "the dataset's block."
        )
    log_passed_over(local_copy.name, empty=[PurePosixPath(name) for name in chosen.empty], hidden=chosen.hidden)
    _copy_all(chosen.files, [raw / path.relative_to(local_copy) for path in chosen.files])


def bytes_of(local_copy: Path, *, only: Wanted) -> int:
    """Size in bytes of the archive, or of the files of the folder that would be copied.

    Raises:
        BadInput: something in the folder cannot be read.
    """
    return (
        local_copy.stat().st_size
        if local_copy.is_file()
        else sum(path.stat().st_size for path in _chosen(local_copy, only).files)
    )


def _chosen(local_copy: Path, only: Wanted) -> Tree:
    return tree_of(local_copy, wanted=lambda name: is_data(PurePosixPath(name), only))


def _copy_all(files: list[Path], copies: list[Path]) -> None:
    pairs = list(zip(files, copies, strict=True))
    missing = sum(file.stat().st_size for file, copy in pairs if not copy.exists())
    require_space(copies[0].parent, missing, what="the copy")
    progress, done = Progress("Copy", sum(file.stat().st_size for file in files), unit="bytes"), 0
    with full_disk_reported(copies[0].parent), ThreadPoolExecutor(THREADS) as threads:
        for size in threads.map(_copy, files, copies):
            done += size
            progress.step(done)


def _copy(file: Path, copy: Path) -> int:
    try:
        size = file.stat().st_size
        if not (copy.exists() and copy.stat().st_size == size and sha256_of(copy) == sha256_of(file)):
            with atomic_path(copy) as partial:
                shutil.copyfile(file, partial)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise BadInput(
            f"{file}: expected to copy it into {copy.parent}, got {error.strerror!r}; mend it, or shorten its name, "
            "and fetch again."
        ) from error
    return size
