"""Datasets that are one archive at a web address."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from diffufuse.errors import BadInput
from diffufuse.fetch.addresses import redacted, require_commit, require_no_secret
from diffufuse.fetch.disk import FullDisk, download_folder
from diffufuse.fetch.extent import Extent
from diffufuse.fetch.http import content_length, download
from diffufuse.fetch.unpacking import unpack


def fetch(raw: Path, source: Mapping[str, Any], *, study_seed: int) -> None:
    """Download the archive and unpack its folder.

    Args:
        raw: the raw folder, replaced as a whole.
        source: `url` of the archive, `folder` inside it, and the published `sha256`, `md5` and `bytes`.
        study_seed: not used.

    Raises:
        BadInput: the archive is not available, not as published, or not valid; or the address has a secret, is not
            https on a public host, or names a branch.
    """
    require_no_secret(source["url"])
    require_commit(source["url"])
    archive = download_folder(raw) / (PurePosixPath(urlsplit(source["url"]).path).name or "archive")
    published = {name: source[name] for name in ("sha256", "md5") if name in source}
    download(source["url"], archive, published=published, length=source.get("bytes"), times_on_disk=2)
    try:
        unpack(archive, raw, folder=source.get("folder"), only=source.get("only"))
    except FullDisk:
        raise
    except BadInput:
        archive.unlink()
        raise


def extent(source: Mapping[str, Any]) -> Extent:
    """Size of the data; requested from the host if it is not configured."""
    return Extent(cases=source.get("cases"), bytes=source.get("bytes") or content_length(source["url"]))


def address(source: Mapping[str, Any]) -> str:
    """Source of the data, without secrets."""
    return redacted(source["url"])
