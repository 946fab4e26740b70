"""Unpack untrusted archives: files are written only below one folder, and only if the whole archive is valid."""

import fnmatch
import gzip
import io
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias

from diffufuse.errors import BadInput
from diffufuse.fetch.disk import full_disk_reported, require_space, staged_folder
from diffufuse.logs import Progress

# Ratio of unpacked to packed size. Deflate reaches 1032 on zeros, label maps 300, images with label maps 20.
LARGEST_EXPANSION = 500
CHUNK_BYTES = 1 << 20
# Pattern or patterns for the top-level names of a dataset's folder; None for all.
Wanted: TypeAlias = str | Sequence[str] | None
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    FileExistsError,
    NotADirectoryError,
)


@dataclass(frozen=True)
class Member:
    """One entry of an archive.

    Attributes:
        name: path inside the archive.
        size: unpacked size in bytes.
        kind: `file`, `folder`, or `other` for a link, a device, a sparse or an encrypted file.
        open: opens the content.
    """

    name: str
    size: int
    kind: str
    open: Callable[[], IO[bytes]]


def is_archive(path: Path) -> bool:
    """Whether a file has the suffix of a supported archive."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def unpack(archive: Path, raw: Path, *, folder: str | None = None, only: Wanted = None) -> None:
    """Replace a folder by the content of an archive, completely or not at all.

    Names that begin with a dot, and `__MACOSX`, are skipped.

    Args:
        archive: zip, or tar, plain or compressed.
        raw: the folder to replace.
        folder: name of the folder in the archive to unpack, at any depth; None for everything.
        only: pattern or patterns of the top-level names to unpack; None for everything.

    Raises:
        BadInput: it is no archive, is damaged, lacks the folder, has a member that points outside or is no plain file,
            expands beyond `LARGEST_EXPANSION`, or the disk is full.
    """
    most, total = LARGEST_EXPANSION * archive.stat().st_size, 0
    with (
        full_disk_reported(raw.parent),
        staged_folder(raw) as partial,
        _damage_reported(archive),
        _opened(archive) as members,
    ):
        progress = Progress(f"Unpack {archive.name}", 0, unit="bytes")
        for member in members:
            target = _target(member, folder, only)
            if target is None:
                continue
            _require_plain(member, archive)
            total += member.size
            if total > most:
                raise BadInput(f"{archive}: the member {member.name} expands beyond reason; do not trust this archive.")
            if member.kind == "file":
                require_space(partial, member.size, what=f"what {archive.name} holds")
                _write(member, partial / target, archive)
                progress.step(total)
        if not any(path.is_file() for path in partial.rglob("*")):
            wanted = (
                f"the folder {folder}"
                if folder
                else f"files below {only if isinstance(only, str) else ', '.join(only)}"
                if only
                else "files"
            )
            raise BadInput(f"{archive}: expected {wanted} in the archive, but it holds none; check the source.")


def is_data(relative: PurePosixPath, only: Wanted) -> bool:
    """Whether a path below a dataset's folder is data: not hidden, and its top-level name matches a pattern.

    Args:
        relative: path below the dataset's folder.
        only: pattern or patterns for the top-level name; None for all.
    """
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in relative.parts)
    patterns = ["*"] if only is None else [only] if isinstance(only, str) else only
    return bool(relative.parts) and not hidden and any(fnmatch.fnmatch(relative.parts[0], one) for one in patterns)


def _target(member: Member, folder: str | None, only: Wanted) -> PurePosixPath | None:
    if folder is not None and f"/{folder}/" not in f"/{member.name}":
        return None
    inside = f"/{member.name}".split(f"/{folder}/", 1)[1] if folder is not None else member.name
    relative = PurePosixPath(inside)
    return relative if _points_outside(member.name) or is_data(relative, only) else None


def _points_outside(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name


def _require_plain(member: Member, archive: Path) -> None:
    if _points_outside(member.name):
        raise BadInput(f"{archive}: the member {member.name!r} points outside its folder; do not trust this archive.")
    if member.kind == "other":
        raise BadInput(
            f"{archive}: expected plain files, but the member {member.name!r} is a link, a device, sparse or "
            "encrypted; do not trust this archive."
        )


def _write(member: Member, path: Path, archive: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise BadInput(f"{archive}: expected each member once, but {member.name!r} comes twice; check the archive.")
    with member.open() as content, path.open("wb") as file:
        shutil.copyfileobj(content, file, CHUNK_BYTES)


@contextmanager
def _opened(archive: Path) -> Iterator[Iterator[Member]]:
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            yield (_of_tar(tar, info) for info in tar)
            _read_to_the_end(tar)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield (_of_zip(opened, info) for info in opened.infolist())
    else:
        raise BadInput(
            f"{archive}: expected a zip or tar archive, got something else; check the source in config/datasets.yaml."
        )


def _read_to_the_end(tar: tarfile.TarFile) -> None:
    """Read the stream after the end of the archive, which verifies the checksum of a compressed one."""
    while isinstance(tar.fileobj, io.BufferedIOBase) and tar.fileobj.read(CHUNK_BYTES):
        pass


def _of_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    kind = "folder" if info.isdir() else "file" if info.isreg() and not info.issparse() else "other"
    return Member(info.name, info.size, kind, lambda: tar.extractfile(info) or _no_content(info.name))


def _of_zip(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    form = stat.S_IFMT(info.external_attr >> 16)
    plain = form in (0, stat.S_IFREG, stat.S_IFDIR) and not info.flag_bits & 1
    kind = "other" if not plain else "folder" if info.is_dir() else "file"
    return Member(info.filename, info.file_size, kind, lambda: opened.open(info))


def _no_content(name: str) -> IO[bytes]:
    raise tarfile.ReadError(f"{name} has no content")


@contextmanager
def _damage_reported(archive: Path) -> Iterator[None]:
    try:
        yield
    except (*DAMAGED, NotImplementedError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"{archive}: expected a whole archive, got a damaged one ({reason}); fetch it again.") from error
