"""The entries of zip and tar archives, and the checks that Python's readers leave out."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from diffufuse.errors import BadInput

CHUNK_BYTES = 1 << 20
ENCRYPTED = 1  # of a zip member's flags


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


@contextmanager
def opened(archive: Path) -> Iterator[Iterator[Member]]:
    """Open a zip or tar archive, plain or compressed, and list its members.

    The end of a tar archive is checked when the block ends, which also verifies the checksum of a compressed one.

    Args:
        archive: the file; what its bytes are decides, not its suffix.

    Raises:
        BadInput: it is no archive.
        Exception: of `zipfile`, `tarfile` and the codecs, if it is damaged.
    """
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive, tarinfo=_Header) as tar:
            yield (_of_tar(tar, info) for info in tar)
            _require_end(tar)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened_zip:
            yield _of_zip(opened_zip)
    else:
        raise BadInput(
            f"{archive}: expected a zip or tar archive, got something else; check the source in config/datasets.yaml."
        )


class _Header(tarfile.TarInfo):
    """A header of a tar archive; a damaged one, at which `tarfile` would end the archive in silence, is an error."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf and not any(buf):  # the end
                raise
            raise tarfile.ReadError(f"{error} in place of a member or the end") from error


def _require_end(tar: tarfile.TarFile) -> None:
    """Require that nothing but zeros follows the end of the archive, to which the file has been read."""
    while isinstance(tar.fileobj, io.BufferedIOBase) and (rest := tar.fileobj.read(CHUNK_BYTES)):
        if any(rest):
            raise tarfile.ReadError("data after its end")


def _of_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    kind = "folder" if info.isdir() else "file" if info.isreg() and not info.issparse() else "other"
    return Member(info.name, info.size, kind, lambda: tar.extractfile(info) or _no_content(info.name))


def _no_content(name: str) -> IO[bytes]:
    raise tarfile.ReadError(f"{name} has no content")


def _of_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    """The members of a zip archive; if all names have backslashes between folders, as some Windows programs write."""
    infos = archive.infolist()
    of_windows = not any("/" in info.filename for info in infos)
    for info in infos:
        if info.filename != info.orig_filename:
            raise zipfile.BadZipFile("a name with a zero byte")
        name = info.filename.replace("\\", "/") if of_windows else info.filename
        encrypted = info.flag_bits & ENCRYPTED
        if not encrypted:
            archive.open(info).close()  # compares the name with that before the content
        form = stat.S_IFMT(info.external_attr >> 16)
        plain = form in (0, stat.S_IFREG, stat.S_IFDIR) and not encrypted
        kind = "other" if not plain else "folder" if name.endswith("/") else "file"
        yield Member(name, info.file_size, kind, partial(archive.open, info))
