"""Fetch one archive over HTTPS and take a folder out of it."""

import http.client
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.files import atomic_path
from diffufuse.logs import PROGRESS, Progress

TIMEOUT_S = 60
CHUNK_BYTES = 1 << 20
LARGEST_EXPANSION = 200


def fetch(raw: Path, source: Mapping[str, Any], *, study_seed: int) -> None:
    """Download a zip archive and unpack one of its folders.

    Args:
        raw: receives the folder's content.
        source: `url` of the archive and `folder` inside it.
        study_seed: not used; a source may make its data from it.

    Raises:
        BadInput: the download fails, is not a zip archive, lacks the folder, or has unsafe members.
    """
    archive = raw.with_name(f"{raw.name}.zip")
    _download(source["url"], archive)
    try:
        _unpack(archive, source["folder"], raw)
    finally:
        archive.unlink()


def _download(url: str, path: Path) -> None:
    PROGRESS.info("Downloading %s", url)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, atomic_path(path) as partial:
            expected = int(answer.headers.get("Content-Length") or 0)
            progress = Progress(f"Download {path.name} (bytes)", expected)
            with partial.open("wb") as file:
                while chunk := answer.read(CHUNK_BYTES):
                    file.write(chunk)
                    progress.step(file.tell())
            if expected and partial.stat().st_size != expected:
                raise BadInput(f"{url}: expected {expected} bytes, got {partial.stat().st_size}; fetch again.")
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise BadInput(
            f"{url}: the download failed ({error}); fetch again, or name a local copy with --config mirror=FOLDER."
        ) from error


def _unpack(archive: Path, folder: str, raw: Path) -> None:
    if not zipfile.is_zipfile(archive):
        raise BadInput(f"{archive}: expected a zip archive, got something else (a web page?); check the source's url.")
    with zipfile.ZipFile(archive) as opened:
        inside = [info for info in opened.infolist() if not info.is_dir() and f"/{folder}/" in f"/{info.filename}"]
        if not inside:
            raise BadInput(
                f"{archive}: expected the folder {folder} in the archive, but it holds none; check the source."
            )
        for info in inside:
            _require_safe(info, archive)
            relative = f"/{info.filename}".split(f"/{folder}/", 1)[1]
            with opened.open(info) as member, atomic_path(raw / relative) as partial, partial.open("wb") as file:
                shutil.copyfileobj(member, file)


def _require_safe(info: zipfile.ZipInfo, archive: Path) -> None:
    path = PurePosixPath(info.filename)
    link = (info.external_attr >> 16) & 0o170000 == 0o120000
    if path.is_absolute() or ".." in path.parts or link:
        raise BadInput(f"{archive}: the member {info.filename} points outside its folder; do not trust this archive.")
    if info.file_size > LARGEST_EXPANSION * max(info.compress_size, 1024):
        raise BadInput(f"{archive}: the member {info.filename} expands beyond reason; do not trust this archive.")
