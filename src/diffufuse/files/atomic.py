"""Files appear whole or not at all, and are on the disk before they have their name."""

import errno
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

# Of a temporary name `.{where}.{pid}.partial.{name}`; earlier releases wrote no `where`.
PARTIAL = re.compile(r"^\.(?:(?P<where>.+)\.)?(?P<pid>\d+)\.partial\.")
DAY_S = 86_400.0
CANNOT_SYNC_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EISDIR}


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary neighbor of `path` that takes its name when the block ends well and vanishes otherwise.

    Content and name are on the disk when this returns, so that a power cut leaves the old file or the new one. Inside
    an `atomic_folder` that is left to the folder, which does it once for all. What a killed job left of the same file
    is removed first.

    Args:
        path: the file; its folder is made.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(final)
    partial, part_of_more = partial_of(final), any(PARTIAL.match(folder.name) for folder in final.parents)
    try:
        yield partial
        if not part_of_more:
            _flush(partial)
        os.replace(partial, final)
        if not part_of_more:
            _flush_folder(final.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder that takes the place of `path` when the block ends well and vanishes otherwise.

    All that it holds is on the disk before it has its name. A link to a folder stays; what it leads to is replaced.

    Args:
        path: the folder; what it held is gone afterwards.
    """
    final = Path(path).resolve()
    _remove_leftovers(final)
    partial = partial_of(final)
    partial.mkdir(parents=True)
    try:
        yield partial
        flush_tree(partial)
        _take_place(partial, final)
        _flush_folder(final.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def partial_of(final: Path) -> Path:
    """The temporary name for a file or folder while this process writes it.

    It tells where and by which process, so that what a killed one left can be told from what a living one writes; and
    it ends as the final name does, for writers that go by the suffix.

    Args:
        final: where it will be.
    """
    return final.with_name(f".{_where()}.{os.getpid()}.partial.{final.name}")


def flush_tree(folder: Path) -> None:
    """Have all files and folders below a folder, and the folder itself, on the disk.

    Args:
        folder: links inside are not followed.

    Raises:
        OSError: the disk fails or is full.
    """
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            if not os.path.islink(os.path.join(root, name)):
                _flush(Path(root, name))
        _flush_folder(Path(root))


def _take_place(partial: Path, final: Path) -> None:
    """The old folder steps aside before it is removed, for a removal takes longer than a rename."""
    old = final.with_name(partial.name.replace(".partial.", ".partial.old."))
    if final.is_dir():
        os.replace(final, old)
    os.replace(partial, final)
    shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Some network disks cannot do it for folders; their servers look after names."""
    try:
        _flush(folder)
    except OSError as error:
        if error.errno not in CANNOT_SYNC_FOLDERS:
            raise


@cache
def _where() -> str:
    """Where a process number means something: this host, and in a container its own numbering."""
    try:
        numbering = re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))
    except OSError:
        numbering = "0"
    return f"{re.sub(r'[^A-Za-z0-9-]', '-', platform.node())[:64]}-{numbering}"


def _remove_leftovers(final: Path) -> None:
    """Remove what is half written of a file or folder if its process is gone.

    Whether it is gone can be seen on the same host alone. Elsewhere, as on a network disk that several hosts share, a
    day without a write says so.
    """
    for path in _leftovers(final):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _leftovers(final: Path) -> list[Path]:
    if not final.parent.is_dir():
        return []
    names = [name for name in os.listdir(final.parent) if name.endswith(f".{final.name}") and PARTIAL.match(name)]
    return [final.with_name(name) for name in names if _is_left(final.with_name(name), final.name)]


def _is_left(path: Path, name: str) -> bool:
    found = PARTIAL.match(path.name)
    if found is None or path.name[found.end() :] not in (name, f"old.{name}"):
        return False
    if found["where"] == _where():
        return int(found["pid"]) == os.getpid() or not _is_running(int(found["pid"]))
    with suppress(FileNotFoundError):
        return time.time() - _last_write(path) > DAY_S
    return False


def _is_running(pid: int) -> bool:
    return psutil.pid_exists(pid)


def _last_write(path: Path) -> float:
    times = [path.lstat().st_mtime]
    for root, folders, names in os.walk(path):
        times += [os.lstat(os.path.join(root, name)).st_mtime for name in (*folders, *names)]
    return max(times)
