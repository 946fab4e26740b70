"""Print the table of all targets: damages by outcome."""

import sys
import tempfile
from pathlib import Path

from fuzz import OUTCOMES, counted, targets


def write(*cells: object) -> None:
    """Write one line to standard output."""
    sys.stdout.write(" ".join(map(str, cells)) + "\n")


TRIES = int(sys.argv[1]) if len(sys.argv) > 1 else 500

write("| file | tries |", " | ".join(OUTCOMES), "|\n|" + "---|" * (2 + len(OUTCOMES)))
for target in targets():
    with tempfile.TemporaryDirectory() as folder:
        numbers = counted(target, Path(folder), tries=TRIES)
    write(f"| {target.name} | {TRIES} |", " | ".join(str(numbers[outcome]) for outcome in OUTCOMES), "|")
