"""Atomic writes: files and folders are complete and synced to disk before they get their final name."""

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

from diffufuse.errors import FULL

# Matches temporary names `.{where}.{pid}.partial.{name}`; earlier releases wrote no `where`.
PARTIAL = re.compile(r"^\.(?:(?P<where>.+)\.)?(?P<pid>\d+)\.partial\.")
DAY_S = 86_400.0
SECONDS_TO_READ_A_SCRIPT = 60.0
CANNOT_SYNC_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EISDIR}


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file beside `path` that is renamed to it when the block ends without an error, and removed otherwise.

    Content and name are synced to disk, so that a power cut leaves the old file or the new one; inside an
    `atomic_folder`, the folder does this once for all files. Leftovers of killed jobs are removed first.

    Args:
        path: the file; its folder is created.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(final)
    partial, part_of_more = partial_of(final), any(PARTIAL.match(folder.name) for folder in final.parents)
    try:
        with _named_if_full(final):
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
    """A temporary folder that replaces `path` when the block ends without an error, and is removed otherwise.

    Its content is synced to disk before it is renamed. If `path` is a link, its target is replaced.

    Args:
        path: the folder; its previous content is removed.
    """
    final = Path(path).resolve()
    _remove_leftovers(final)
    partial = partial_of(final)
    try:
        with _named_if_full(final):
            partial.mkdir(parents=True)
            yield partial
            flush_tree(partial)
            _take_place(partial, final)
            _flush_folder(final.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def partial_of(final: Path) -> Path:
    """The temporary path of a file or folder while this process writes it.

    It contains the host and the process number, to distinguish leftovers of killed processes from files being written,
    and ends with the final name, for writers that depend on the suffix.

    Args:
        final: the final path.
    """
    return final.with_name(f".{_where()}.{os.getpid()}.partial.{final.name}")


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove all temporary files and folders of processes that have ended, anywhere below a folder.

    This can be checked only for processes of this host. For those of other hosts, as on a shared network disk, they
    are removed after a day without a write.

    Args:
        folder: need not exist; links in it are not followed.
    """
    for root, folders, names in os.walk(folder):
        for name in filter(PARTIAL.match, (*folders, *names)):
            if _is_left(Path(root, name)):
                _remove(Path(root, name))
        folders[:] = [name for name in folders if not PARTIAL.match(name)]


def remove_unused_scripts(folder: str | os.PathLike[str]) -> None:
    """Remove the scripts that killed jobs left in a folder.

    A script is read right after it is written. So one is left that is older than a minute and in no command of this
    host.

    Args:
        folder: holds nothing but scripts; need not exist.
    """
    commands = {part for process in psutil.process_iter(["cmdline"]) for part in process.info["cmdline"] or ()}
    for path in Path(folder).glob("*"):
        with suppress(OSError):
            if str(path.resolve()) not in commands and time.time() - path.stat().st_mtime > SECONDS_TO_READ_A_SCRIPT:
                path.unlink()


def flush_tree(folder: Path) -> None:
    """Sync all files and folders below a folder, and the folder itself, to disk.

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


@contextmanager
def _named_if_full(final: Path) -> Iterator[None]:
    """Let the error of a full disk name the file or folder that was to be written."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            error.filename = os.fspath(final)
        raise


def _take_place(partial: Path, final: Path) -> None:
    """Replace a folder; the old one is renamed before it is removed, as removal takes longer than renaming."""
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
    """Sync a folder, ignoring errors of network disks that do not support it."""
    try:
        _flush(folder)
    except OSError as error:
        if error.errno not in CANNOT_SYNC_FOLDERS:
            raise


@cache
def _where() -> str:
    """The scope of process numbers: the host name and the PID namespace."""
    try:
        numbering = re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))
    except OSError:
        numbering = "0"
    return f"{re.sub(r'[^A-Za-z0-9-]', '-', platform.node())[:64]}-{numbering}"


def _remove_leftovers(final: Path) -> None:
    for path in _leftovers(final):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _leftovers(final: Path) -> list[Path]:
    if not final.parent.is_dir():
        return []
    wanted = (final.name, f"old.{final.name}")
    names = [name for name in os.listdir(final.parent) if PARTIAL.sub("", name) in wanted and name not in wanted]
    return [final.with_name(name) for name in names if _is_left(final.with_name(name))]


def _is_left(path: Path) -> bool:
    parsed = PARTIAL.match(path.name)
    if parsed is None:
        return False
    if parsed["where"] == _where():
        return int(parsed["pid"]) == os.getpid() or not _is_running(int(parsed["pid"]))
    with suppress(FileNotFoundError):
        return time.time() - _last_write(path) > DAY_S
    return False


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # that has ended, and its parent has not asked yet
    except psutil.NoSuchProcess:
        return False


def _last_write(path: Path) -> float:
    times = [path.lstat().st_mtime]
    for root, folders, names in os.walk(path):
        times += [os.lstat(os.path.join(root, name)).st_mtime for name in (*folders, *names)]
    return max(times)
