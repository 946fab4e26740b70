"""Large files whose content is compared with its hash once on a host, and not at each start of each job.

What was compared is remembered in a folder of the host, one small note a file: the hash, and inode, size and dates of
the file. A write gives a file another date, a copy another inode; either is hashed anew. A bit that the disk itself
loses leaves the dates as they are, and is found where the file has not been compared yet: on another host, or on this
one when its folder of notes is gone, as after most restarts.
"""

import hashlib
import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from diffufuse.files.digests import sha256_of

# Dates of files advance in steps, so a file that was written just now may be written again under the same date.
SETTLED_S = 2.0
OWNER_ALONE = 0o700


def has_sha256(path: str | os.PathLike[str], sha256: str) -> bool:
    """Whether a file has a content of this SHA-256, as it was found by this host since the file was last written.

    Args:
        path: the file.
        sha256: in hexadecimal.

    Raises:
        BadInput: the file cannot be read.
    """
    file = Path(path)
    if not file.exists():
        return False
    note, before = _note_of(file), _told(file, sha256)
    if note and _read(note) == before:
        return True
    began = time.time()
    if sha256_of(file) != sha256:
        return False
    if note and _told(file, sha256) == before and began - _last_written_s(file) > SETTLED_S:
        _write(note, before)
    return True


def _told(file: Path, sha256: str) -> str:
    """What a note tells: the hash that was compared, and the file as it was then."""
    status = file.stat()
    return f"{sha256} {status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _last_written_s(file: Path) -> float:
    status = file.stat()
    return max(status.st_mtime, status.st_ctime)


def _note_of(file: Path) -> Path | None:
    """Where the note of a file lies; None on a host without a folder that this user alone can write."""
    folder = Path(tempfile.gettempdir()) / f"diffufuse-verified-{os.getuid()}"
    try:
        folder.mkdir(mode=OWNER_ALONE, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
    return folder / hashlib.sha256(os.fsencode(file.resolve())).hexdigest() if private else None


def _read(note: Path) -> str:
    try:
        return note.read_text(errors="replace")
    except OSError:
        return ""


def _write(note: Path, text: str) -> None:
    """Write a note as a whole; a disk that is full, or that cannot be written, costs the next start a hash."""
    partial = note.with_name(f"{note.name}.{os.getpid()}")
    with suppress(OSError):
        partial.write_text(text)
        partial.replace(note)
