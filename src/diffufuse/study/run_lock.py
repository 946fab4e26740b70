"""One run at a time in a folder; the lock goes with its process, so that one that was killed leaves none behind."""

import fcntl
import os
import socket
from pathlib import Path

from diffufuse.errors import BadInput


class RunLock:
    """A lock on a folder, from `hold` to the end of the process, however it ends.

    Attributes:
        path: the file that is locked; it says who holds it, and stays.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: int | None = None

    def hold(self) -> None:
        """Take the lock.

        Raises:
            BadInput: another process holds it, which the sentence names; or the folder cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)  # less the umask, so that a group may share it
        except OSError as error:
            raise BadInput(
                f"{self.path}: expected a folder that may be written, but {error.strerror}; ask its owner, or work in "
                "a copy of your own."
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 200).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise BadInput(
                f"{self.path}: another run is under way in this folder ({holder}); wait for it, or stop it."
            ) from None
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        self._file = file
