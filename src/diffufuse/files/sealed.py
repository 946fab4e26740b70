"""Files that hold their own SHA-256, so that a reader knows that every bit is as it was written.

Each has the `SEAL` once, where its format has room for a text, and behind it 64 hexadecimal digits: the SHA-256 of the
whole file with zeros in their place. Equal content gives equal files.
"""

import hashlib
import os
import re
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_path

SEAL = "SHA-256 of this file with zeros here: "
BLANK = SEAL + "0" * 64
# The name of the seal in JSON, and in the metadata of Parquet and safetensors.
CHECKSUM = "checksum"
_DIGITS = re.compile(SEAL.encode() + rb"([0-9a-f]{64})")


def write_sealed(content: bytes, path: str | os.PathLike[str]) -> None:
    """Write a file atomically, with its checksum in place of its `BLANK`.

    Raises:
        ValueError: the content has no `BLANK`, or several.
    """
    if len(_DIGITS.findall(content)) != 1:
        raise ValueError(f"{path}: expected one place for the checksum")
    digest = hashlib.sha256(content).hexdigest()
    with atomic_path(path) as partial:
        partial.write_bytes(content.replace(BLANK.encode(), (SEAL + digest).encode()))


def read_sealed(path: str | os.PathLike[str], what: str, *, remove: str | os.PathLike[str] | None = None) -> bytes:
    """Read a file and compare its checksum.

    Args:
        path: the file.
        what: kind of file with its article, for the message.
        remove: what to remove so that it is made anew, such as the folder that one job writes; by default the file.

    Raises:
        BadInput: the file is missing, cannot be read, has no checksum or another content.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise not_as_written(path, what, f"it cannot be read ({error.strerror})", remove=remove) from error
    seals = list(_DIGITS.finditer(content))
    if len(seals) != 1:
        raise not_as_written(path, what, "it has no checksum: it is damaged, or of an earlier release", remove=remove)
    start, end = seals[0].span(1)
    digest = hashlib.sha256(content[:start])
    digest.update(b"0" * (end - start))
    digest.update(memoryview(content)[end:])
    if digest.hexdigest().encode() != content[start:end]:
        raise not_as_written(path, what, "it is damaged or edited", remove=remove)
    return content


def not_as_written(
    path: str | os.PathLike[str], what: str, reason: str, *, remove: str | os.PathLike[str] | None = None
) -> BadInput:
    """The refusal of a file that a job wrote, with the command that makes it anew; arguments as of `read_sealed`."""
    return BadInput(
        f"{path}: expected {what} as it was written, but {reason}; remove {remove or 'it'} and run snakemake again."
    )
