"""Download a file over HTTP, resuming interrupted transfers, and check its length and hash."""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.errors import FULL, BadInput
from diffufuse.fetch.addresses import OWN_COPY, opened, redacted, require_web
from diffufuse.fetch.disk import full_disk_reported, require_space
from diffufuse.logs import PROGRESS, Progress

TIMEOUT_S = 60.0
WAIT_S = 1.0
ATTEMPTS = 5
CHUNK_BYTES = 1 << 20
PAGE_STARTS = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--", b"<error")
PAGE_BYTES = max(map(len, PAGE_STARTS))
TRY_AGAIN = {408, 416, 425, 429, 500, 502, 503, 504}


class _BrokeOff(Exception):
    """The transfer ended early; the received part is kept."""


def download(
    url: str,
    path: Path,
    *,
    published: Mapping[str, str] | None = None,
    length: int | None = None,
    times_on_disk: int = 1,
) -> None:
    """Download one file; an interrupted transfer is resumed with a range request, at once or at the next call.

    The received part is kept beside the file as `{name}.part`, and its version (ETag or date) as
    `{name}.part.version`, so that parts of two versions are never joined.

    Args:
        url: https address on a public host.
        path: of the complete file; if it exists, nothing is done.
        published: `sha256` or `md5` in hexadecimal, as published.
        length: in bytes, as published.
        times_on_disk: disk space to require in units of the length; 2 if the file will be unpacked beside itself.

    Raises:
        BadInput: the address is not public or returns an error or a web page, the transfer fails repeatedly, the
            length or hash is wrong, or the disk is full.
    """
    if path.exists():
        return
    require_web(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    PROGRESS.info("Downloading %s", redacted(url))
    with full_disk_reported(path.parent):
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
    """Length of a file in bytes from a HEAD request; None if the host does not report it.

    Args:
        url: https address on a public host.
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
            received = part.stat().st_size if part.exists() else 0
            failures, most = (1 if received > most else failures + 1), max(most, received)
            if failures >= ATTEMPTS:
                raise BadInput(
                    f"{redacted(url)}: the download failed {ATTEMPTS} times without progress ({_reason(error)}); fetch "
                    f"again, which goes on from {received} bytes, {OWN_COPY}."
                ) from error
            PROGRESS.info("The download broke off (%s); going on from %d bytes", _reason(error), received)
            time.sleep(WAIT_S * 2 ** (failures - 1))


def _receive(url: str, part: Path, times_on_disk: int) -> None:
    """Send one request; resume the received part if the host still has the same version."""
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
    """Write a response body; an old part is truncated before its version is written, so that parts never mix."""
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
        received = file.tell()
    if total is not None and received < total:
        raise _BrokeOff(f"expected {total} bytes, got {received}")


def _require_no_page(answer: Any, start: bytes, url: str) -> None:
    if answer.headers.get_content_type() == "text/html" or start.lstrip()[:PAGE_BYTES].lower().startswith(PAGE_STARTS):
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
    """The strong validator of a response; only this may be used to join ranges (RFC 9110, 13.1.5)."""
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
    reason = " ".join(str(getattr(error, "reason", error)).split())
    return reason or type(error).__name__
