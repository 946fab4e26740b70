"""Pairs of pictures that occur twice in a set, under another name or saved anew.

Two pictures are compared by the correlation of their gray levels, averaged to 64 x 64. The limits lie between two
things that were measured. In the 269 pairs of PET and MR of the Harvard atlas as published for fusion, neighboring
slices of one brain, which are different pictures, correlate up to 0.987 (MR) and 0.997 (PET), and up to 0.987 in both.
The same slice saved as JPEG of quality 30, with 2 % noise, brighter by a tenth, or in half the size correlates by at
least 0.998, a sharp picture of cells as JPEG of quality 30 by 0.996. Mirrored or turned, other
slices of the atlas correlate up to 0.85 in both, and cells up to 0.48.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32
from PIL import Image

SIDE = 64
# Both pictures of a pair must reach the first; one picture alone the second, as neighbors of PET are that alike.
SAME_BOTH, SAME_ALONE = 0.993, 0.999
ABOVE_ALL = np.inf
ROWS = 512
# Quarters of a turn, and whether mirrored then. Sets are published with such copies, to learn from more pictures.
UPRIGHT = (0, False)
TURNS = (UPRIGHT, (1, False), (2, False), (3, False), (0, True), (1, True), (2, True), (3, True))

Thumbnail = Float32[np.ndarray, "4096"]
Repeated = Literal["both", "structure", "function"]


def thumbnail(picture: Float[np.ndarray, "rows columns"]) -> Thumbnail:
    """A picture, averaged to 64 x 64, with mean 0 and length 1; all 0 if it does not vary."""
    image = Image.fromarray(picture.astype(np.float32))
    values = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64).ravel()
    values = values - values.mean()
    length = np.linalg.norm(values)
    return (values / length if length > 0 else values).astype(np.float32)


def repeated(structures: Sequence[Thumbnail], functions: Sequence[Thumbnail]) -> Iterator[tuple[int, int, Repeated]]:
    """Find pairs of which one or both pictures are the same; both also mirrored or turned by right angles.

    Args:
        structures: of each pair.
        functions: of each pair, in the same order.

    Returns:
        The numbers of two pairs, the lower first, and which picture they share; two pairs once at most.
    """
    if not structures:
        return
    first, second = np.stack(structures), np.stack(functions)
    found: set[tuple[int, int]] = set()
    for turn in TURNS:
        turned_first, turned_second = _turned(first, *turn), _turned(second, *turn)
        for start in range(0, len(first), ROWS):  # a set of ten thousand would take 400 MB at once
            rows = slice(start, start + ROWS)
            by_structure, by_function = first[rows] @ turned_first.T, second[rows] @ turned_second.T
            both = np.minimum(by_structure, by_function) > SAME_BOTH
            alone = np.maximum(by_structure, by_function) > (SAME_ALONE if turn == UPRIGHT else ABOVE_ALL)
            for row, column in np.argwhere(both | alone):
                numbers = int(start + row), int(column)
                if numbers[0] < numbers[1] and numbers not in found:
                    found.add(numbers)
                    one: Repeated = "structure" if by_structure[row, column] > by_function[row, column] else "function"
                    yield *numbers, "both" if both[row, column] else one


def _turned(thumbnails: np.ndarray, quarters: int, mirrored: bool) -> np.ndarray:
    squares = np.rot90(thumbnails.reshape(-1, SIDE, SIDE), quarters, axes=(1, 2))
    return np.ascontiguousarray(squares[:, ::-1] if mirrored else squares).reshape(len(thumbnails), -1)
