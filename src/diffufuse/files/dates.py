"""Dates of files that lie in the future, as a clock that was set back leaves them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

# Clocks of a network's machines differ by less.
TOLERANCE_S = 60.0


def date_back(*folders: str | os.PathLike[str], tell: Callable[[str], object]) -> None:
    """Give files and folders from the future the present date, and tell how many there were.

    A workflow compares dates, and refuses an output that is older than what it was made of. Of files that are all dated
    to one moment none is older than another, and none is older than any file before it.

    Args:
        folders: are searched at any depth; one that is absent has no files.
        tell: gets one sentence, if there is anything to tell.
    """
    now = time.time()
    late = [
        path
        for folder in folders
        for path in Path(folder).rglob("*")
        if path.lstat().st_mtime > now + TOLERANCE_S and not path.is_symlink()
    ]
    for path in late:
        os.utime(path, (now, now))
    if late:
        tell(
            f"{len(late)} files of {' and '.join(map(str, folders))} were dated in the future, the first {late[0]}: "
            "the clock has been set back. They have the present date now."
        )
