"""One file over HTTP: resumed where it broke off, checked for length and hash, then named."""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.fetch.addresses import OWN_COPY, opened, redacted, require_web
from diffufuse.fetch.disk import FULL, full_disk_told, require_space
from diffufuse.logs import PROGRESS, Progress

TIMEOUT_S = 60.0
WAIT_S = 1.0
ATTEMPTS = 5
CHUNK_BYTES = 1 << 20
TRY_AGAIN = {408, 416, 425, 429, 500, 502, 503, 504}


class _BrokeOff(Exception):
    """The transfer ended early; what has come is kept."""


def download(
    url: str,
    path: Path,
    *,
    published: Mapping[str, str] | None = None,
    length: int | None = None,
    times_on_disk: int = 1,
) -> None:
    """Download one file; a transfer that breaks off goes on with a range request, now or at the next call.

    The part that has come lies beside the file as `{name}.part`, and what names its version (ETag or date) as
    `{name}.part.version`, so that parts of two versions are never joined.

    Args:
        url: by https, on a public host.
        path: receives the file, once it is whole; nothing is done if it is there.
        published: `sha256` or `md5` in hexadecimal, as the publisher states them.
        length: in bytes, as the publisher states it.
        times_on_disk: how many times its length the file will need, 2 if it will be unpacked beside itself.

    Raises:
        BadInput: the address is not public or answers with an error or a web page, the transfer keeps breaking off, the
            length or hash is wrong, or the disk is full.
    """
    if path.exists():
        return
    require_web(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    PROGRESS.info("Downloading %s", redacted(url))
    with full_disk_told(path.parent):
        _receive_whole(url, part, times_on_disk)
    try:
        _require_as_published(url, part, published or {}, length)
    except BadInput:
        _discard(part)
        raise
    with part.open("rb") as whole:
        os.fsync(whole.fileno())
    part.replace(path)
    _version_file(part).unlink(missing_ok=True)


def content_length(url: str) -> int | None:
    """Length of a file in bytes as its host tells it, without fetching it; None if the host does not.

    Args:
        url: by https, on a public host; of another one nothing is asked.
    """
    try:
        with opened(urllib.request.Request(url, method="HEAD"), timeout=10) as answer:
            return int(answer.headers.get("Content-Length") or 0) or None
    except (OSError, ValueError, http.client.HTTPException):
        return None


def _receive_whole(url: str, part: Path, times_on_disk: int) -> None:
    failures, most = 0, -1
    while True:
        try:
            return _receive(url, part, times_on_disk)
        except (_BrokeOff, OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in FULL:
                raise
            come = part.stat().st_size if part.exists() else 0
            failures, most = (1 if come > most else failures + 1), max(most, come)
            if failures >= ATTEMPTS:
                raise BadInput(
                    f"{redacted(url)}: the download failed {ATTEMPTS} times without progress ({_reason(error)}); fetch "
                    f"again, which goes on from {come} bytes, {OWN_COPY}."
                ) from error
            PROGRESS.info("The download broke off (%s); going on from %d bytes", _reason(error), come)
            time.sleep(WAIT_S * 2 ** (failures - 1))


def _receive(url: str, part: Path, times_on_disk: int) -> None:
    """One request; continues the part where that is known to be of the same version."""
    version = _version_file(part).read_text() if _version_file(part).exists() else ""
    have = part.stat().st_size if version and part.exists() else 0
    wanted = {"Range": f"bytes={have}-", "If-Range": version} if have else {}
    try:
        with opened(urllib.request.Request(url, headers=wanted), timeout=TIMEOUT_S) as answer:
            begin = have if answer.status == 206 else 0
            if begin and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {begin}-"):
                _discard(part)
                raise _BrokeOff("the host sent another range than it was asked for")
            total = _total(answer, begin)
            require_space(part.parent, (total or 0) * times_on_disk - begin, what=redacted(url))
            _append(answer, part, begin, total, url)
    except urllib.error.HTTPError as error:
        if error.code == 416 and (error.headers.get("Content-Range") or "").endswith(f"/{have}"):
            return
        if error.code == 416:
            _discard(part)
        elif error.code not in TRY_AGAIN:
            raise BadInput(
                f"{redacted(url)}: expected the file, got HTTP {error.code}; check the source's url in "
                f"config/datasets.yaml, {OWN_COPY}."
            ) from error
        raise


def _append(answer: Any, part: Path, begin: int, total: int | None, url: str) -> None:
    """Write a body; an old part is cut before its version is named, so that a kill between the two joins nothing."""
    progress = Progress(f"Download {part.name.removesuffix('.part')}", total or 0, unit="bytes", begun_at=begin)
    chunk = answer.read(CHUNK_BYTES)
    if begin == 0:
        _require_no_page(answer, chunk, url)
    with part.open("ab" if begin else "wb") as file:
        _version_file(part).write_text(_version(answer))
        while chunk:
            file.write(chunk)
            progress.step(file.tell())
            chunk = answer.read(CHUNK_BYTES)
        come = file.tell()
    if total is not None and come < total:
        raise _BrokeOff(f"expected {total} bytes, got {come}")


def _require_no_page(answer: Any, start: bytes, url: str) -> None:
    if answer.headers.get_content_type() == "text/html" or start.lstrip()[:1] == b"<":
        raise BadInput(
            f"{redacted(url)}: expected an archive, got a web page; open the address in a browser, for it may want a "
            f"login or have moved, {OWN_COPY}."
        )


def _require_as_published(url: str, part: Path, published: Mapping[str, str], length: int | None) -> None:
    if length is not None and part.stat().st_size != length:
        raise BadInput(
            f"{redacted(url)}: expected {length} bytes as published, got {part.stat().st_size}; the download was "
            "discarded, fetch again or check whether the publisher has changed the file."
        )
    for name, expected in published.items():
        digest = hashlib.new(name, usedforsecurity=False)
        with part.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        if digest.hexdigest() != expected.lower():
            raise BadInput(
                f"{redacted(url)}: expected the {name} {expected} as published, got {digest.hexdigest()}; the download "
                "was discarded, fetch again or check whether the publisher has changed the file."
            )


def _total(answer: Any, have: int) -> int | None:
    length = answer.headers.get("Content-Length")
    return None if length is None else have + int(length)


def _version(answer: Any) -> str:
    """A strong validator, which alone may join ranges (RFC 9110, 13.1.5)."""
    tag = answer.headers.get("ETag") or ""
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified") or ""


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    told = " ".join(str(getattr(error, "reason", error)).split())
    return told or type(error).__name__
