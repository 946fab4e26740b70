"""Room on the disk: asked for before a fetch begins, and told in one sentence where it ends in the middle."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def staged_folder(final: Path) -> Iterator[Path]:
    """A hidden neighbor of a folder that takes its place when the block ends well and vanishes otherwise.

    Unlike `files.atomic_folder` its name is always the same, so that what a killed fetch left behind is cleared by the
    next one.

    Args:
        final: the folder; replaced as a whole.
    """
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(final, ignore_errors=True)
        partial.replace(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def download_folder(raw: Path) -> Path:
    """Where downloads of a raw folder wait until they are unpacked; a later fetch goes on from them."""
    return raw.with_name(f".{raw.name}.download")
