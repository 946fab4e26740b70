"""A digest of a dataset's content that does not depend on gzip compression."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.fetch.unpacking import Wanted, is_data
from diffufuse.files.tree import files_below
from diffufuse.logs import PROGRESS

CHUNK_BYTES = 1 << 20


def content_sha256(raw: Path, *, only: Wanted = None) -> str:
    """SHA-256 over the sorted lines `path<TAB>bytes<TAB>sha256` of the files of a raw folder.

    It is pinned where the digest of an archive cannot be: hosts such as GitHub create the archive of a commit on
    request, and its bytes may vary. For the same reason, length and digest of a `.gz` file are those of its
    decompressed content.

    Args:
        raw: the raw folder; hidden names are ignored, links are followed.
        only: pattern or patterns of the top-level names to include; None for all.

    Returns:
        In hexadecimal.

    Raises:
        BadInput: a `.gz` file is damaged, or something cannot be read.
    """
    paths = {path.relative_to(raw).as_posix(): path for path in files_below(raw)}
    names = sorted(name for name in paths if is_data(PurePosixPath(name), only))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        lines = threads.map(lambda name: f"{name}\t{_length_and_digest(paths[name])}\n", names)
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def require_content(raw: Path, source: Mapping[str, Any]) -> None:
    """Require that the content of a raw folder has the digest pinned in its dataset's block.

    Args:
        raw: the raw folder.
        source: the dataset's `source`; without `content_sha256`, nothing is checked.

    Raises:
        BadInput: the digest differs.
    """
    pinned = source.get("content_sha256")
    if pinned is None:
        return
    PROGRESS.info("Comparing the content of %s with what is pinned", raw.name)
    actual = content_sha256(raw, only=source.get("only"))
    if actual != pinned.lower():
        raise BadInput(
            f"{raw}: expected the content {pinned} that content_sha256 in config/datasets.yaml pins, got {actual}; the "
            "publisher or your copy of it has changed, so take another copy, or pin the new content if you trust it."
        )


def holds_pinned(raw: Path, source: Mapping[str, Any]) -> bool:
    """Whether a dataset's block pins its content, and the raw folder has that content."""
    pinned = source.get("content_sha256")
    return pinned is not None and content_sha256(raw, only=source.get("only")) == pinned.lower()


def _length_and_digest(path: Path) -> str:
    digest, length = hashlib.sha256(), 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                length += len(chunk)
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise BadInput(f"{path}: expected a file that can be read, got {error.strerror!r}; mend it.") from error
        raise BadInput(f"{path}: expected a whole gzip file, got a damaged one; fetch it again.") from error
    return f"{length}\t{digest.hexdigest()}"
