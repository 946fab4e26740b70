"""Unpack untrusted archives: files are written only below one folder, and only if the whole archive is valid."""

import fnmatch
import lzma
import re
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from diffufuse.errors import FULL, BadInput
from diffufuse.fetch.disk import full_disk_reported, require_space, staged_folder
from diffufuse.fetch.members import Member, opened
from diffufuse.files.names import first_of
from diffufuse.files.tree import files_below, is_hidden
from diffufuse.logs import PROGRESS, Progress

# Ratio of unpacked to packed size. Deflate reaches 1032 on zeros, label maps 300, images with label maps 20.
LARGEST_EXPANSION = 500
CHUNK_BYTES = 1 << 20
# Pattern or patterns for the top-level names of a dataset's folder; None for all.
Wanted: TypeAlias = str | Sequence[str] | None
DRIVE = re.compile("[A-Za-z]:")
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
# What zipfile, tarfile and the codecs raise on damaged archives, by experiment: their documentation does not say.
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    ArithmeticError,
    RuntimeError,
)


def is_archive(path: Path) -> bool:
    """Whether a file has the suffix of a supported archive."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def unpack(archive: Path, raw: Path, *, folder: str | None = None, only: Wanted = None) -> None:
    """Replace a folder by the content of an archive, completely or not at all.

    Hidden names are skipped; their number, and folders that hold nothing, are logged.

    Args:
        archive: zip, or tar, plain or compressed.
        raw: the folder to replace.
        folder: name of the folder in the archive to unpack, at any depth; None for everything.
        only: pattern or patterns of the top-level names to unpack; None for everything.

    Raises:
        BadInput: it is no archive, is damaged, lacks the folder, has a member that points outside or is no plain file,
            expands beyond `LARGEST_EXPANSION`, or the disk is full.
    """
    total, folders, hidden = 0, set(), 0
    with (
        full_disk_reported(raw.parent),
        staged_folder(raw) as partial,
        _damage_reported(archive),
        opened(archive) as members,
    ):
        most = LARGEST_EXPANSION * archive.stat().st_size
        progress = Progress(f"Unpack {archive.name}", 0, unit="bytes")
        for member in members:
            target = _target(member, folder, only)
            if target is None:
                hidden += any(map(is_hidden, PurePosixPath(member.name).parts))
                continue
            _require_plain(member, archive)
            total += member.size
            if total > most:
                raise BadInput(f"{archive}: the member {member.name} expands beyond reason; do not trust this archive.")
            if member.kind == "file":
                require_space(partial, member.size, what=f"what {archive.name} holds")
                _write(member, partial / target, archive)
                progress.step(total)
            else:
                folders.add(target)
        files = [path.relative_to(partial) for path in files_below(partial)]
        log_passed_over(
            archive.name, empty=folders - {parent for path in files for parent in path.parents}, hidden=hidden
        )
        if not files:
            wanted = f"the folder {folder}" if folder else what_is_wanted(only)
            raise BadInput(f"{archive}: expected {wanted} in the archive, but it holds none; check the source.")


def is_data(relative: PurePosixPath, only: Wanted) -> bool:
    """Whether a path below a dataset's folder is data: not hidden, and its top-level name matches a pattern.

    Args:
        relative: path below the dataset's folder.
        only: pattern or patterns for the top-level name; None for all.
    """
    hidden = any(map(is_hidden, relative.parts))
    patterns = ["*"] if only is None else [only] if isinstance(only, str) else only
    return bool(relative.parts) and not hidden and any(fnmatch.fnmatch(relative.parts[0], one) for one in patterns)


def what_is_wanted(only: Wanted) -> str:
    """What a source should hold, for a message."""
    return f"files below {only if isinstance(only, str) else ' or '.join(only)}" if only else "files"


def log_passed_over(source: str, *, empty: Collection[PurePosixPath], hidden: int) -> None:
    """Log what of a source is not data: folders without a file, with the names of the first, and hidden names."""
    if empty:
        names = first_of([str(path) for path in sorted(empty)])
        PROGRESS.warning("%s: %d folders hold no file and are not taken: %s", source, len(empty), names)
    if hidden:
        PROGRESS.info("%s: %d hidden names are passed over", source, hidden)


def _target(member: Member, folder: str | None, only: Wanted) -> PurePosixPath | None:
    if folder is not None and f"/{folder}/" not in f"/{member.name}":
        return None
    inside = f"/{member.name}".split(f"/{folder}/", 1)[1] if folder is not None else member.name
    relative = PurePosixPath(inside)
    return relative if _points_outside(member.name) or is_data(relative, only) else None


def _points_outside(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\0" in name or DRIVE.match(name) is not None


def _require_plain(member: Member, archive: Path) -> None:
    if _points_outside(member.name):
        raise BadInput(f"{archive}: the member {member.name!r} points outside its folder; do not trust this archive.")
    if "\\" in member.name:
        raise BadInput(
            f"{archive}: expected `/` between folders, but the member {member.name!r} has a backslash; rename it or "
            "pack the archive anew."
        )
    if member.kind == "other":
        raise BadInput(
            f"{archive}: expected plain files, but the member {member.name!r} is a link, a device, sparse or "
            "encrypted; pack the archive anew with the files themselves if it is yours, otherwise do not trust it."
        )


def _write(member: Member, path: Path, archive: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise BadInput(f"{archive}: expected each member once, but {member.name!r} comes twice; check the archive.")
    with member.open() as content, path.open("wb") as file:
        shutil.copyfileobj(content, file, CHUNK_BYTES)
        if file.tell() != member.size:
            raise BadInput(
                f"{archive}: expected {member.size} bytes in the member {member.name!r}, got {file.tell()}; fetch the "
                "archive again."
            )


@contextmanager
def _damage_reported(archive: Path) -> Iterator[None]:
    try:
        yield
    except BadInput:
        raise
    except NotImplementedError as error:
        raise BadInput(
            f"{archive}: expected an archive in a common compression, got another ({_reason(error)}); pack it anew as "
            ".zip or .tar.gz."
        ) from error
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise BadInput(
            f"{archive}: expected a whole archive, got a damaged one ({_reason(error)}); fetch it again."
        ) from error


def _reason(error: BaseException) -> str:
    """What an exception says, without paths."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
