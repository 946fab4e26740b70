"""Free disk space, and the folders that a fetch writes to."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.files.tree import files_below
from diffufuse.logs import bytes_text, free_bytes, of_full_disk


class FullDisk(BadInput):
    """There is not enough free disk space."""


def require_space(folder: Path, needed: int, *, what: str) -> None:
    """Require free disk space before a write.

    Args:
        folder: where to write; need not exist.
        needed: number of bytes.
        what: description of the data, for the message.

    Raises:
        FullDisk: there is less free space than needed.
    """
    free = free_bytes(folder)
    if needed > free:
        raise FullDisk(
            f"{folder}: expected {bytes_text(needed)} of free disk for {what}, got {bytes_text(free)}; free some or "
            "put data/ on another disk, then fetch again."
        )


@contextmanager
def full_disk_reported(folder: Path) -> Iterator[None]:
    """Turn the error of a full disk, a quota or a file size limit into a message that says what to do.

    Args:
        folder: where the block writes.

    Raises:
        FullDisk: a write inside the block failed for lack of space.
    """
    try:
        yield
    except OSError as error:
        placed = OSError(error.errno, error.strerror, error.filename or os.fspath(folder))
        refusal = of_full_disk(placed, near=folder)
        if refusal is None:
            raise
        raise FullDisk(str(refusal)) from error


@contextmanager
def unusable_disk_reported(folder: Path) -> Iterator[None]:
    """Turn every error of a disk into a message that says what to do.

    Args:
        folder: what the block reads and writes.

    Raises:
        FullDisk: a write inside the block failed for lack of space.
        BadInput: something could not be read or written, for lack of permission or as the disk fails.
    """
    try:
        with full_disk_reported(folder):
            yield
    except OSError as error:
        place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else folder
        raise BadInput(
            f"{place}: expected to read and write there, got {error.strerror or type(error).__name__!r}; mend it and "
            "fetch again."
        ) from error


def make_raw_folder(raw: Path) -> None:
    """Create a raw folder if it does not exist; it may be a link to a folder on another disk, or a mount point.

    Args:
        raw: the raw folder.

    Raises:
        BadInput: it is a link to a missing disk, or a file.
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
    """Mark a raw folder as filled by a fetch, by creating its download folder.

    Args:
        raw: the raw folder, from `make_raw_folder`.

    Raises:
        BadInput: it is a link to a folder with files that were not fetched; a fetch would replace them.
    """
    downloads = download_folder(raw)
    if raw.is_symlink() and not downloads.is_dir() and holds_files(raw):
        raise BadInput(
            f"{raw}: expected an empty folder behind the link, but it holds files that no fetch has brought; let the "
            "link lead to a new folder, or name yours as a copy with --config mirror=FOLDER."
        )
    downloads.mkdir(parents=True, exist_ok=True)


def forget_fetch(raw: Path) -> None:
    """Remove the mark of `begin_fetch` if nothing was downloaded.

    Args:
        raw: the raw folder, still empty.
    """
    with suppress(OSError):
        download_folder(raw).rmdir()


def holds_files(folder: Path) -> bool:
    """Whether there is any file below a folder; names that begin with a dot are ignored."""
    return bool(files_below(folder))


@contextmanager
def staged_folder(final: Path) -> Iterator[Path]:
    """A hidden folder on the same disk that replaces the content of a folder when the block ends without an error.

    Unlike in `files.atomic_folder`, its name is fixed, so that the next fetch removes what a killed one left.

    Args:
        final: the folder, or a link to it; its previous content is removed.
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
    """Remove the content of a folder, except hidden folders and those that cannot be removed, such as `lost+found`."""
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
    """Path of a hidden folder on the same disk as `folder`, so that files can be moved by renaming.

    It is beside the folder, or beside the target of a link. If the folder is a mount point or its parent is not
    writable, it is inside.

    Args:
        folder: need not exist.
        what: suffix of its name.
    """
    real = folder.resolve()
    if real.is_dir() and (os.path.ismount(real) or not os.access(real.parent, os.W_OK)):
        return real / f".{what}"
    return real.with_name(f".{real.name}.{what}")


def download_folder(raw: Path) -> Path:
    """The folder of a raw folder's downloads until they are unpacked; later fetches resume from them."""
    return hidden_near(raw, "download")
