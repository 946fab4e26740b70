"""Room on the disk: asked for before a fetch begins, and told in one sentence where it ends in the middle."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.logs import bytes_text

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FullDisk(BadInput):
    """There is not enough room; the data is not at fault."""


def require_space(folder: Path, needed: int, *, what: str) -> None:
    """Stop before a write for which there is no room.

    Args:
        folder: where it would be written; need not exist.
        needed: bytes.
        what: what would be written, for the message.

    Raises:
        FullDisk: less is free than needed.
    """
    free = free_bytes(folder)
    if needed > free:
        raise FullDisk(
            f"{folder}: expected {bytes_text(needed)} of free disk for {what}, got {bytes_text(free)}; free some or "
            "put data/ on another disk, then fetch again."
        )


def free_bytes(folder: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


@contextmanager
def full_disk_told(folder: Path) -> Iterator[None]:
    """Tell a disk, quota or file size limit that was met in the middle of a write as a fault with a remedy.

    Args:
        folder: where the block writes.

    Raises:
        FullDisk: a write inside the block found no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise FullDisk(
            f"{folder}: expected room on the disk, got {error.strerror!r}; free some and fetch again, which goes on "
            "from what is whole."
        ) from error


def make_raw_folder(raw: Path) -> None:
    """Make a raw folder where there is none; it may be a link to a folder on another disk, or a disk of its own.

    Args:
        raw: the raw folder.

    Raises:
        BadInput: the link leads to a disk that is not there, or a file has the place.
    """
    real = raw.resolve()
    if raw.is_symlink() and not real.parent.is_dir():
        raise BadInput(
            f"{raw}: expected a link to a folder on a disk that is there, but {real.parent} is not; mount the disk or "
            "correct the link."
        )
    try:
        real.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise BadInput(f"{raw}: expected a folder for raw data, got a file; move it away and fetch again.") from None


def begin_fetch(raw: Path) -> None:
    """Note that what a raw folder holds from now on was fetched; the note is its download folder.

    Args:
        raw: the raw folder, which `make_raw_folder` has made.

    Raises:
        BadInput: it is a link to a folder with files that no fetch has brought; they might be the only copy, and would
            be replaced.
    """
    downloads = download_folder(raw)
    if raw.is_symlink() and not downloads.is_dir() and holds_files(raw):
        raise BadInput(
            f"{raw}: expected an empty folder behind the link, but it holds files that no fetch has brought; let the "
            "link lead to a new folder, or name yours as a copy with --config mirror=FOLDER."
        )
    downloads.mkdir(parents=True, exist_ok=True)


def forget_fetch(raw: Path) -> None:
    """Take back the note of `begin_fetch` where nothing has come; what is downloaded so far stays.

    Args:
        raw: the raw folder, still empty.
    """
    with suppress(OSError):
        download_folder(raw).rmdir()


def holds_files(folder: Path) -> bool:
    """Whether there is any file below a folder; names that begin with a dot are not data."""
    return any(
        path.is_file()
        for path in folder.rglob("*")
        if not any(part[0] == "." for part in path.relative_to(folder).parts)
    )


@contextmanager
def staged_folder(final: Path) -> Iterator[Path]:
    """A hidden folder on the same disk whose content becomes that of a folder when the block ends well.

    Unlike in `files.atomic_folder` its name is always the same, so that what a killed fetch left behind is cleared by
    the next one.

    Args:
        final: the folder, or a link to it; all that it held is gone afterwards.
    """
    real, partial = final.resolve(), hidden_near(final, "partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if partial.parent == real:
            _replace_content(real, partial)
        else:
            shutil.rmtree(real, ignore_errors=True)
            partial.replace(real)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def empty_folder(folder: Path) -> None:
    """Remove what a folder holds; hidden folders stay, and what belongs to the disk itself, such as `lost+found`."""
    for old in folder.iterdir():
        if not old.is_dir() or old.is_symlink():
            old.unlink()
        elif not old.name.startswith("."):
            shutil.rmtree(old, ignore_errors=True)


def _replace_content(folder: Path, partial: Path) -> None:
    empty_folder(folder)
    for new in partial.iterdir():
        new.replace(folder / new.name)


def hidden_near(folder: Path, what: str) -> Path:
    """A hidden folder from which a move into `folder` is a rename.

    It lies beside the folder, and behind a link beside what that leads to, for there may be another disk. Where
    that disk begins with the folder itself, or its neighborhood is another user's, it lies inside.

    Args:
        folder: need not exist.
        what: is kept there.
    """
    real = folder.resolve()
    if real.is_dir() and (os.path.ismount(real) or not os.access(real.parent, os.W_OK)):
        return real / f".{what}"
    return real.with_name(f".{real.name}.{what}")


def download_folder(raw: Path) -> Path:
    """Where downloads of a raw folder wait until they are unpacked; a later fetch goes on from them."""
    return hidden_near(raw, "download")
