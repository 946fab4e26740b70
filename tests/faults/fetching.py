"""Downloads, archives and raw folders that are not as they should be."""

import hashlib
import io
import os
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from hosts import Page, host

from diffufuse.errors import BadInput
from diffufuse.fetch import http as fetching_http
from diffufuse.fetch.dataset import fetch_dataset
from faults import Fault

CONTENT = b"content" * 20_000


def zipped(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def tarred(kind: bytes, name: str = "a", target: str = "/etc/passwd") -> bytes:
    content, info = io.BytesIO(), tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(info)
    return content.getvalue()


def tarred_all(*members: tuple[str, bytes], mode: str = "w") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def patched(body: bytes, mark: bytes, offset: int, new: bytes) -> bytes:
    """Overwrite bytes at an offset from the last of a mark: `PK12` of a zip's list of members, `PK56` of its end."""
    at = body.rindex(mark) + offset
    return body[:at] + new + body[at + len(new) :]


def with_backslashes(body: bytes) -> bytes:
    """As old Windows programs write a zip."""
    return body.replace(b"x/a.nii.gz", b"x\\a.nii.gz").replace(b"x/b.nii.gz", b"x\\b.nii.gz")


WHOLE = zipped({"a.nii.gz": random.Random(0).randbytes(50_000)})


SMALL = {"a.nii.gz": b"a" * 30, "b.nii.gz": b"b" * 30}
TWO, TAR, TAR_GZ = zipped(SMALL), tarred_all(*SMALL.items()), tarred_all(*SMALL.items(), mode="w:gz")
BACKSLASHES = with_backslashes(zipped({f"x/{name}": data for name, data in SMALL.items()}))
LATIN_1 = os.fsdecode(b"M\xfcller")
NO_UTF8 = tarred_all(*((f"{LATIN_1}/{name}", data) for name, data in SMALL.items()))
OF_DOS = zipped({f"M~ller/{name}": data for name, data in SMALL.items()}).replace(b"M~ller", b"M\x81ller")
UNMARKED = zipped({f"M~~ller/{name}": data for name, data in SMALL.items()}).replace(b"M~~ller", "Müller".encode())
LISTED, END = b"PK\1\2", b"PK\5\6"


def beside(path: bytes) -> bytes:
    """A zip with names in the code page of DOS and a Unicode path in a field, as Info-ZIP packs it on Windows."""
    content, name = io.BytesIO(), b"M\x81ller/a.nii.gz"
    with zipfile.ZipFile(content, "w") as archive:
        info = zipfile.ZipInfo(name.replace(b"\x81", b"~").decode())
        field = struct.pack("<BI", 1, zlib.crc32(name)) + path + b"/a.nii.gz"
        info.create_system, info.extra = 0, struct.pack("<HH", 0x7075, len(field)) + field
        archive.writestr(info, SMALL["a.nii.gz"])
    return content.getvalue().replace(b"M~ller", b"M\x81ller")


BESIDE, BESIDE_NONE = beside("Mūller".encode()), beside(b"M\xfcller")


def is_small(content: object) -> bool:
    return content == SMALL["a.nii.gz"]


def recoded(method: bytes) -> bytes:
    """A zip whose member is said to be of another compression, in both places."""
    return method.join([WHOLE[:8], patched(WHOLE, LISTED, 10, method)[10:]])


def swallowed() -> bytes:
    """A zip whose first member has a comment as long as what stands after it in the list."""
    at = TWO.index(LISTED) + 32
    return TWO[:at] + bytes([TWO.index(END) - TWO.rindex(LISTED)]) + TWO[at + 1 :]


def emptied() -> bytes:
    return patched(TWO, LISTED, 16, bytes(12))


def long_named() -> bytes:
    """A tar with a name of more than 100 bytes, changed in one byte."""
    content, info = io.BytesIO(), tarfile.TarInfo("ü" * 99 + ".nii.gz")
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(info)
    return content.getvalue().replace("ü".encode() * 3, "üäü".encode(), 1)


def zeroed() -> bytes:
    """A tar whose second header is zeros, as is the end of one."""
    return TAR[:1024] + bytes(512) + TAR[1536:]


def served(body: bytes) -> Callable[[Path], None]:
    """Lay down what the server will serve."""

    def make(folder: Path) -> None:
        (folder / "served").write_bytes(body)

    return make


def fetched(source: dict[str, object] | None = None, **page: object) -> Callable[[Path], object]:
    """Fetch what was laid down from a server that behaves as told; nothing may be left of a refused fetch."""

    def read(folder: Path) -> object:
        fetching_http.WAIT_S = 0.0
        with host() as server:
            server.pages["/a"] = Page((folder / "served").read_bytes(), **page)
            block = {"kind": "archive", "url": f"{server.url}/a"} | (source or {})
            fetch(block, folder)
        return (folder / "raw/a.nii.gz").read_bytes()

    return read


def fetch(block: dict[str, object], folder: Path) -> None:
    told = {"mirror": None, "study_seed": 1}
    try:
        fetch_dataset(block, folder / "raw.manifest.tsv", **told)
    except BadInput:
        left = [path for path in (folder / "raw").rglob("*") if path.is_file()]
        assert not left, "half-written"
        assert not (folder / "raw.manifest.tsv").exists()
        raise


def touched(touch: Callable[[Path], None]) -> Callable[[Path], object]:
    """Fetch, touch the raw folder, and fetch again."""

    def read(folder: Path) -> object:
        with host() as server:
            server.pages["/a"] = Page((folder / "served").read_bytes())
            block = {"kind": "archive", "url": f"{server.url}/a"}
            fetch(block, folder)
            touch(folder / "raw")
            told = {"mirror": None, "study_seed": 1}
            fetch_dataset(block, folder / "raw.manifest.tsv", **told)
        return (folder / "raw/a.nii.gz").read_bytes()

    return read


def fetched_over(hinder: Callable[[Path], None]) -> Callable[[Path], object]:
    """Fetch to where something else stands."""

    def read(folder: Path) -> object:
        hinder(folder / "raw")
        return touched(lambda raw: None)(folder)

    return read


def linked(raw: Path) -> None:
    (raw / "b").symlink_to("gone")


def in_the_way(raw: Path) -> None:
    raw.with_name(".raw.download").touch()


def is_right(content: object) -> bool:
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as archive:
        return content == archive.read("a.nii.gz")


FAULTS = [
    Fault("fetching: connection drops twice", served(WHOLE), fetched(breaks=[10_000, 20_000]), right=is_right),
    Fault("fetching: host is busy at first", served(WHOLE), fetched(refusals=[503, 429]), right=is_right),
    Fault("fetching: body is short", served(WHOLE), fetched(length=60_000, ranges=False), "expected 60000 bytes, got"),
    Fault("fetching: HTTP 200 with a web page", served(b"<html>log in</html>"), fetched(), "got a web page"),
    Fault("fetching: HTTP 404", served(b"no"), fetched(status=404), "got HTTP 404"),
    Fault(
        "fetching: wrong SHA-256", served(WHOLE), fetched({"sha256": "00ff"}), "expected the sha256 00ff as published"
    ),
    Fault("fetching: wrong MD5", served(WHOLE), fetched({"md5": "00ff"}), "expected the md5 00ff as published"),
    Fault("fetching: right MD5", served(WHOLE), fetched({"md5": hashlib.md5(WHOLE).hexdigest()}), right=is_right),
    Fault("fetching: no room on the disk", served(b""), fetched(length=10**15), "TB of free disk"),
    Fault(
        "fetching: a token in the address", served(WHOLE), fetched({"url": "http://a/b?token=x"}), "password or token"
    ),
    Fault("archive: no archive at all", served(CONTENT), fetched(), "expected a zip or tar archive"),
    Fault("archive: an empty file", served(b""), fetched(), "got an empty file"),
    Fault("archive: cut off", served(WHOLE[:-5000]), fetched(), "expected a zip or tar archive, .* it was cut off"),
    Fault("archive: one byte flipped", served(WHOLE[:9000] + b"\0\1\2" + WHOLE[9003:]), fetched(), "damaged"),
    Fault("archive: 64 bytes lost", served(WHOLE[:9000] + WHOLE[9064:]), fetched(), "a damaged one"),
    Fault("archive: 64 bytes of zeros", served(WHOLE[:9000] + bytes(64) + WHOLE[9064:]), fetched(), "a damaged one"),
    Fault("archive: a password", served(patched(WHOLE, LISTED, 8, b"\1")), fetched(), "sparse or encrypted"),
    Fault("archive: another compression", served(recoded(b"\x63\0")), fetched(), "common compression, got another"),
    Fault("archive: a damaged name of one member", served(patched(TWO, LISTED, 46, b"c")), fetched(), "a damaged one"),
    Fault(
        "archive: a damaged name of a member that is not wanted then",
        served(patched(TWO, LISTED, 46, b".")),
        fetched(),
        "a damaged one",
    ),
    Fault("archive: a list that ends early", served(patched(TWO, END, 12, b"\x38\0")), fetched(), "a damaged one"),
    Fault("archive: a name that swallows the next", served(swallowed()), fetched(), "1 of 2 members listed"),
    Fault("archive: sizes and checksum zeroed in the list", served(emptied()), fetched(), "otherwise than they"),
    Fault("archive: a zero byte in a name", served(TWO.replace(b"b.nii.gz", b"b.\0ii.gz")), fetched(), "zero byte"),
    Fault("archive: one name twice", served(TWO.replace(b"b.nii.gz", b"a.nii.gz")), fetched(), "comes twice"),
    Fault("archive: a file and a folder of a name", served(zipped({"a": b"1", "a/b": b"2"})), fetched(), "damaged one"),
    Fault("archive: names that are no UTF-8", served(NO_UTF8), fetched({"folder": LATIN_1}), right=is_small),
    Fault("archive: names in the code page of DOS", served(OF_DOS), fetched({"folder": "Müller"}), right=is_small),
    Fault(
        "archive: names in UTF-8, unmarked, of Unix", served(UNMARKED), fetched({"folder": "Müller"}), right=is_small
    ),
    Fault("archive: names with a Unicode path beside", served(BESIDE), fetched({"folder": "Mūller"}), right=is_small),
    Fault("archive: a Unicode path that is none", served(BESIDE_NONE), fetched({"folder": "Müller"}), "a damaged one"),
    Fault("archive: a drive", served(zipped({"C:/a.nii.gz": b"x"})), fetched(), "points outside"),
    Fault("archive: backslashes between folders", served(BACKSLASHES), fetched({"folder": "x"}), right=is_small),
    Fault("archive: backslashes and slashes", served(zipped({"a/b": b"1", "a\\c": b"2"})), fetched(), "a backslash"),
    Fault("archive: backslashes that lead outside", served(zipped({"..\\c": b"2"})), fetched(), "points outside"),
    Fault(
        "archive: a line break in a name",
        served(tarred(tarfile.SYMTYPE, "a\nb")),
        fetched(),
        r"a\\nb",
    ),
    Fault("archive: a name too long for a disk", served(zipped({"a" * 300: b"x"})), fetched(), "File name too long"),
    Fault("archive: a tar with a damaged header", served(patched(TAR, b"b.nii.gz", 1, b"_")), fetched(), "bad check"),
    Fault("archive: a tar with a header of zeros", served(zeroed()), fetched(), "data after its end"),
    Fault("archive: a tar cut between two members", served(TAR[:1024]), fetched(), "in place of a member or the end"),
    Fault("archive: a tar with a damaged long name", served(long_named()), fetched(), "otherwise than the short one"),
    Fault("archive: two tars in one", served(TAR + TAR), fetched(), "data after its end"),
    Fault("archive: a tar.gz with data after it", served(TAR_GZ + b"x"), fetched(), "a damaged one"),
    Fault("archive: a tar.gz of another checksum", served(patched(TAR_GZ, TAR_GZ[-8:], 0, b"abcd")), fetched(), "CRC"),
    Fault("archive: a tar.gz that is cut", served(TAR_GZ[:-9]), fetched(), "a damaged one"),
    Fault("archive: member with ../", served(zipped({"../evil": b"x"})), fetched(), "points outside"),
    Fault("archive: absolute member", served(zipped({"/tmp/evil": b"x"})), fetched(), "points outside"),
    Fault("archive: symbolic link", served(tarred(tarfile.SYMTYPE)), fetched(), "is a link"),
    Fault("archive: hard link", served(tarred(tarfile.LNKTYPE)), fetched(), "is a link"),
    Fault("archive: device", served(tarred(tarfile.CHRTYPE)), fetched(), "a device"),
    Fault(
        "archive: expands a thousandfold", served(zipped({"b": b"\0" * 20_000_000})), fetched(), "expands beyond reason"
    ),
    Fault("archive: lacks the folder", served(WHOLE), fetched({"folder": "x/y"}), "expected the folder x/y"),
    Fault(
        "raw data: a file in its folder's place", served(WHOLE), fetched_over(Path.touch), "expected a folder for raw"
    ),
    Fault(
        "raw data: a link to nothing", served(WHOLE), touched(lambda raw: (raw / "b").symlink_to("c")), r"b \(a link"
    ),
    Fault(
        "raw data: a file in the downloads' place", served(WHOLE), fetched_over(in_the_way), "read and write there, got"
    ),
    Fault(
        "raw data: changed after the first fetch",
        served(WHOLE),
        touched(lambda raw: (raw / "a.nii.gz").write_bytes(b"x")),
        r"1 changed \(a\.nii\.gz\)",
    ),
    Fault(
        "raw data: added after the first fetch",
        served(WHOLE),
        touched(lambda raw: (raw / "b.nii.gz").write_bytes(b"x")),
        r"1 extra \(b\.nii\.gz\)",
    ),
    Fault(
        "raw data: removed after the first fetch",
        served(WHOLE),
        touched(lambda raw: (raw / "a.nii.gz").unlink()),
        right=is_right,
    ),
]
