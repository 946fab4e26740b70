"""A folder or an archive that the user has: for data that no program may download, and as a mirror of other data."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.fetch.disk import full_disk_told, require_space
from diffufuse.fetch.extent import Extent
from diffufuse.fetch.unpacking import Wanted, is_archive, is_data, unpack
from diffufuse.files.atomic import atomic_path
from diffufuse.files.digests import sha256_of
from diffufuse.logs import PROGRESS, Progress

THREADS = 4


def fetch(raw: Path, source: Mapping[str, Any], *, study_seed: int) -> None:
    """Say that this data has to be brought.

    Args:
        raw: the raw folder.
        source: its `mirror` names are what to call the folder or archive.
        study_seed: not used; a source may make its data from it.

    Raises:
        BadInput: always; a mirror takes the place of this.
    """
    names = " or ".join(mirror_names(source))
    raise BadInput(
        f"{raw}: expected a copy of your own, for this data is not downloaded; accept its terms, put it into a "
        f"FOLDER as {names} (a folder, .zip, .tar or .tar.gz), and fetch with --config mirror=FOLDER."
    )


def extent(source: Mapping[str, Any]) -> Extent:
    """How much the user has to bring."""
    return Extent(cases=source.get("cases"), bytes=source.get("bytes"))


def address(source: Mapping[str, Any]) -> str:
    """Where the data comes from: whoever runs this brought it."""
    return "copy"


def mirror_names(source: Mapping[str, Any]) -> list[str]:
    """Names below the mirror folder under which a copy of the dataset may lie, the preferred one first."""
    names = source.get("mirror", [])
    return [names] if isinstance(names, str) else list(names)


def find_mirror(mirror: Path, source: Mapping[str, Any]) -> Path:
    """The copy of a dataset in the mirror folder: the first of its names that is there.

    Args:
        mirror: the folder that `--config mirror=FOLDER` names.
        source: the dataset's `source`, with `mirror`.

    Raises:
        BadInput: none is there.
    """
    places = [mirror / name for name in mirror_names(source)]
    found = next((place for place in places if place.is_dir() or is_archive(place)), None)
    if found is None:
        names = " or ".join(mirror_names(source))
        raise BadInput(
            f"{mirror}: expected the dataset as {names}, but there is no such folder or archive; correct the mirror."
        )
    return found


def bring(found: Path, raw: Path, *, folder: str | None, only: Wanted) -> None:
    """Copy a folder, or unpack an archive, into the raw folder; files that are there already and equal are left.

    Args:
        found: the user's folder or archive.
        raw: receives the data.
        folder: inside an archive, the folder to take.
        only: pattern or patterns of the first names to take.

    Raises:
        BadInput: the archive is not to be trusted, or the disk is full.
    """
    PROGRESS.info("Taking the copy %s", found.name)
    if not found.is_dir():
        unpack(found, raw, folder=folder, only=only)
        return
    chosen = _chosen(found, only)
    _copy_all(chosen, [raw / path.relative_to(found) for path in chosen])


def bytes_of(found: Path, *, only: Wanted) -> int:
    """Length of the user's folder or archive, as far as it is taken."""
    return found.stat().st_size if found.is_file() else sum(path.stat().st_size for path in _chosen(found, only))


def _chosen(found: Path, only: Wanted) -> list[Path]:
    files = [path for path in sorted(found.rglob("*")) if path.is_file()]
    return [path for path in files if is_data(PurePosixPath(path.relative_to(found).as_posix()), only)]


def _copy_all(files: list[Path], copies: list[Path]) -> None:
    if not files:
        return
    pairs = list(zip(files, copies, strict=True))
    missing = sum(file.stat().st_size for file, copy in pairs if not copy.exists())
    require_space(copies[0].parent, missing, what="the copy")
    progress, done = Progress("Copy", sum(file.stat().st_size for file in files), unit="bytes"), 0
    with full_disk_told(copies[0].parent), ThreadPoolExecutor(THREADS) as threads:
        for size in threads.map(_copy, files, copies):
            done += size
            progress.step(done)


def _copy(file: Path, copy: Path) -> int:
    size = file.stat().st_size
    if not (copy.exists() and copy.stat().st_size == size and sha256_of(copy) == sha256_of(file)):
        with atomic_path(copy) as partial:
            shutil.copyfile(file, partial)
    return size
