"""Hashes of files."""

import hashlib
import os
from pathlib import Path

from diffufuse.errors import BadInput

CHUNK_BYTES = 1 << 20


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Raises:
        BadInput: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise BadInput(f"{path}: expected a file that can be read, got {error.strerror!r}; mend it.") from error
    return digest.hexdigest()
