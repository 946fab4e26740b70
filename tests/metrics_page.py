"""The tables of docs/metrics.md, as the tests that compare them with the code read them."""

import itertools
import math
from pathlib import Path

from diffufuse.metrics.catalogue import PENALTY

PAGE = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()


def rows_of(title):
    """The cells of the page's table of that title."""
    _, _, *lines = PAGE[PAGE.index(f"| {title} |") :].splitlines()
    table = itertools.takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")] for line in table]


def answered(value):
    """A metric's value where the formula does not decide, as the page writes it."""
    if value is None or value == PENALTY:
        return "value" if value is None else "penalty"
    return "NaN" if math.isnan(value) else f"{value:g}"
