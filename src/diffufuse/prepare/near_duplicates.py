"""Pairs of pictures that occur twice in a set, under another name or saved anew.

Two pictures are compared by the correlation of their gray levels, averaged to 64 x 64. The limits lie between two
things that were measured. In the 269 pairs of PET and MR of the Harvard atlas as published for fusion, neighboring
slices of one brain, which are different pictures, correlate up to 0.987 (MR) and 0.997 (PET), and up to 0.987 in both.
The same slice saved as JPEG of quality 30, with 2 % noise, brighter by a tenth, or in half the size correlates by at
least 0.998, a sharp picture of cells as JPEG of quality 30 by 0.996.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32
from PIL import Image

SIDE = 64
# Both pictures of a pair must reach the first; one picture alone the second, as neighbors of PET are that alike.
SAME_BOTH, SAME_ALONE = 0.993, 0.999
ROWS = 512

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
    """Find pairs of which one or both pictures are the same.

    Args:
        structures: of each pair.
        functions: of each pair, in the same order.

    Returns:
        The numbers of two pairs, the lower first, and which picture they share.
    """
    if not structures:
        return
    first, second = np.stack(structures), np.stack(functions)
    for start in range(0, len(first), ROWS):  # a set of ten thousand would take 400 MB at once
        rows = slice(start, start + ROWS)
        by_structure, by_function = first[rows] @ first.T, second[rows] @ second.T
        both = np.minimum(by_structure, by_function) > SAME_BOTH
        alone = np.maximum(by_structure, by_function) > SAME_ALONE
        for row, column in np.argwhere(both | alone):
            if start + row < column:
                one: Repeated = "structure" if by_structure[row, column] > by_function[row, column] else "function"
                yield int(start + row), int(column), "both" if both[row, column] else one
