"""Downloads, archives and raw folders that are not as they should be."""

import hashlib
import io
import random
import tarfile
import zipfile
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


WHOLE = zipped({"a.nii.gz": random.Random(0).randbytes(50_000)})


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
    Fault("archive: cut off", served(WHOLE[:-5000]), fetched(), "expected a zip or tar archive"),
    Fault("archive: one byte flipped", served(WHOLE[:9000] + b"\0\1\2" + WHOLE[9003:]), fetched(), "damaged"),
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
