"""The entries of zip and tar archives, and the checks that Python's readers leave out."""

import io
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from diffufuse.errors import BadInput

CHUNK_BYTES = 1 << 20
LONGEST_END = (1 << 16) + 200  # of a zip archive: a comment of 16 bits, and records before it
IN_64_BITS, IN_64_BITS_EACH = 0xFFFF, 0xFFFFFFFF
ZIP = b"PK\3\4"  # at the start of an archive
# Before each member of a zip archive: flags, method, CRC-32, sizes packed and unpacked, lengths of name and extra.
LOCAL_HEADER = struct.Struct("<6sHH4xIIIHH")
CUT = re.compile("/$|[\udc80-\udcff]+$")  # what need not be the same at the end of a name that was cut at 100 bytes
SIZES_AFTER = 8  # of a zip member's flags: checksum and sizes stand after the content
ENCRYPTED = 1  # of a zip member's flags
IN_UTF8 = 1 << 11  # of a zip member's flags: so is its name
UNICODE_PATH, OF_THIS_FORM = 0x7075, 1  # a field that Info-ZIP adds to a name, and its version
UNIX = 3  # the system on which a zip member was packed


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
        with zipfile.ZipFile(archive) as opened_zip, archive.open("rb") as file:
            _require_all(opened_zip.infolist(), file)
            yield _of_zip(opened_zip, file)
    else:
        raise BadInput(f"{archive}: expected a zip or tar archive, got {_got(archive)}.")


def _got(archive: Path) -> str:
    """What a file is that can be opened as no archive, and what to do."""
    with archive.open("rb") as file:
        start = file.read(len(ZIP))
    if start == ZIP:
        return "one whose end, with the list of its members, is missing; it was cut off, so fetch or copy it again"
    return f"{'something else' if start else 'an empty file'}; check the source in config/datasets.yaml"


class _Header(tarfile.TarInfo):
    """A header of a tar archive; a damaged one, at which `tarfile` would end the archive in silence, is an error.

    Attributes:
        short_name: the name in the header itself, which has a checksum; what a longer name before it has lost or
            changed shows here.
    """

    short_name = ""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf and not any(buf):  # the end
                raise
            raise tarfile.ReadError(f"{error} in place of a member or the end") from error
        header.short_name = header.name
        return header


def _require_end(tar: tarfile.TarFile) -> None:
    """Require that nothing but zeros follows the end of the archive, to which the file has been read."""
    while isinstance(tar.fileobj, io.BufferedIOBase) and (rest := tar.fileobj.read(CHUNK_BYTES)):
        if any(rest):
            raise tarfile.ReadError("data after its end")


def _of_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    short = info.short_name if isinstance(info, _Header) and "path" not in info.pax_headers else ""
    if not info.name.startswith(CUT.sub("", short)):
        raise tarfile.ReadError("a long name that begins otherwise than the short one")
    kind = "folder" if info.isdir() else "file" if info.isreg() and not info.issparse() else "other"
    return Member(info.name, info.size, kind, lambda: tar.extractfile(info) or _no_content(info.name))


def _no_content(name: str) -> IO[bytes]:
    raise tarfile.ReadError(f"{name} has no content")


def _require_all(infos: Sequence[zipfile.ZipInfo], file: IO[bytes]) -> None:
    """Require as many members as the end record of a zip archive counts; a wrong length in one can hide those after."""
    file.seek(-min(LONGEST_END, file.seek(0, io.SEEK_END)), io.SEEK_END)
    end = file.read()
    [count] = struct.unpack_from("<H", end, end.rindex(b"PK\5\6") + 10)
    if count == IN_64_BITS and b"PK\6\6" in end:
        [count] = struct.unpack_from("<Q", end, end.rindex(b"PK\6\6") + 32)
    if (len(infos) - count) % (1 << 16):  # without 64 bits, writers count modulo 2¹⁶
        raise zipfile.BadZipFile(f"{len(infos)} of {count} members listed")


def _require_same(info: zipfile.ZipInfo, file: IO[bytes]) -> None:
    """Require that method, checksum and sizes in the list of members are those stored with the content, as well."""
    file.seek(info.header_offset)
    stored = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    _, flags, method, checksum, packed, size, name_bytes, extra_bytes = stored
    expected = struct.pack("<II", info.CRC, info.compress_size & 0xFFFFFFFF)
    if flags & SIZES_AFTER and not checksum:
        file.seek(name_bytes + extra_bytes + info.compress_size, io.SEEK_CUR)
        same = file.read(len(expected) + 4).removeprefix(b"PK\7\x08").startswith(expected)
    else:
        in_64_bits = IN_64_BITS_EACH in (packed, size)
        same = checksum == info.CRC and (in_64_bits or (packed, size) == (info.compress_size, info.file_size))
    if method != info.compress_type or not same:
        raise zipfile.BadZipFile("a member's sizes are listed otherwise than they are stored")


def _name_of(info: zipfile.ZipInfo) -> str:
    """The name of a zip member as it was packed; Python's own reading differs between its versions.

    A name that is not marked as UTF-8 is that of the Unicode path beside it; without one it is UTF-8 if it was packed
    on Unix, as macOS does, and can be, otherwise of code page 437.
    """
    name = info.orig_filename
    if info.flag_bits & IN_UTF8 or name.isascii():
        return name
    packed, extra = name.encode("cp437"), info.extra
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == UNICODE_PATH and field[:5] == struct.pack("<BI", OF_THIS_FORM, zlib.crc32(packed)):
            return field[5:].decode()
    if info.create_system == UNIX:
        with suppress(UnicodeDecodeError):
            return packed.decode()
    return name


def _of_zip(archive: zipfile.ZipFile, file: IO[bytes]) -> Iterator[Member]:
    """The members of a zip archive; backslashes are between folders if no name has `/`, as of old Windows."""
    infos = archive.infolist()
    of_windows = not any("/" in info.filename for info in infos)
    for info in infos:
        if "\0" in info.orig_filename:
            raise zipfile.BadZipFile("a name with a zero byte")
        name = _name_of(info).replace("\\", "/") if of_windows else _name_of(info)
        encrypted = info.flag_bits & ENCRYPTED
        if not encrypted:
            archive.open(info).close()  # compares the name with that stored with the content
            _require_same(info, file)
        form = stat.S_IFMT(info.external_attr >> 16)
        plain = form in (0, stat.S_IFREG, stat.S_IFDIR) and not encrypted
        kind = "other" if not plain else "folder" if name.endswith("/") else "file"
        yield Member(name, info.file_size, kind, partial(archive.open, info))
