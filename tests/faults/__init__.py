"""Bad inputs, each made by a function as a real file, and what must become of it.

`test_fault_table.py` runs them all; an id reads like a line of the table of faults.
"""

import zlib  # noqa: F401 - before gdcm, which brings its own: the process ends at the first deflate if that is loaded first
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """One bad input.

    Attributes:
        name: what is wrong, in words; becomes the test's id.
        make: writes the files into an empty folder.
        read: reads that folder as the library does; either raises BadInput or returns what was read.
        refused: regular expression found in the one sentence of the refusal; None where the input is read all the same.
        right: whether what was read is right; for the faults that are mended.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]
    refused: str | None = None
    right: Callable[[object], bool] | None = None
