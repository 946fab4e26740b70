"""What was forecast of many voxels and what came true, as one small table: the basis of every metric of probabilities.

A probability is kept in steps of 1/65535, so a table of 65536 levels, with the number of voxels of each that belong to
the reference and that do not, loses nothing: calibration with any bins, ROC and PR curves, proper scores, temperatures
and prediction sets are all exact functions of it. It has one size whatever the number of voxels, is filled slab by
slab, and the table of several patients is the sum of theirs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

LEVELS = 65536
STEPS = LEVELS - 1
SLAB_VOXELS = 1 << 18

Probability = Float[np.ndarray, "*shape"] | Bool[np.ndarray, "*shape"]
Reference = Bool[np.ndarray, "*shape"]


@dataclass(frozen=True)
class Forecast:
    """How many voxels were given each probability, by what they are.

    Attributes:
        level: (L,) the probabilities that occur, in steps of 1/65535, ascending.
        inside: (L,) number of such voxels that belong to the reference.
        outside: (L,) number of such voxels that do not.
    """

    level: Int64[np.ndarray, " level"]
    inside: Int64[np.ndarray, " level"]
    outside: Int64[np.ndarray, " level"]

    @property
    def probability(self) -> Float[np.ndarray, " level"]:
        """(L,) float64 in 0..1."""
        return self.level / STEPS

    @property
    def count(self) -> Int64[np.ndarray, " level"]:
        """(L,) number of voxels of each level."""
        return self.inside + self.outside

    @property
    def voxels(self) -> int:
        """Number of all voxels."""
        return int(self.count.sum())


def forecast_of(
    probability: Probability, reference: Reference, *, within: Bool[np.ndarray, "*shape"] | None = None
) -> Forecast:
    """The forecast of a volume, counted slab by slab: beside the arguments it needs a few megabytes.

    Args:
        probability: 0..1, or a mask: the forecast of one who is always certain. Rounded to steps of 1/65535.
        reference: boolean, same shape.
        within: boolean, same shape: the voxels that count; by default all.

    Raises:
        ValueError: a probability is not in 0..1.
    """
    total = np.zeros(2 * LEVELS, np.int64)
    for said, true in _slabs(probability, reference, within):
        if said.size and not (said.min() >= 0 and said.max() <= 1):
            raise ValueError(f"probability: expected 0..1, got {said.min()}..{said.max()}")
        level = np.rint(said * np.float64(STEPS)).astype(np.int64)
        total += np.bincount(2 * level + true, minlength=2 * LEVELS)
    return _of_counts(total[1::2], total[::2])


def pooled(forecasts: Iterable[Forecast]) -> Forecast:
    """The forecast of all their voxels together."""
    inside, outside = np.zeros(LEVELS, np.int64), np.zeros(LEVELS, np.int64)
    for forecast in forecasts:
        inside[forecast.level] += forecast.inside
        outside[forecast.level] += forecast.outside
    return _of_counts(inside, outside)


def _of_counts(inside: Int64[np.ndarray, " l"], outside: Int64[np.ndarray, " l"]) -> Forecast:
    level = np.flatnonzero(inside + outside)
    return Forecast(level, inside[level], outside[level])


def _slabs(
    probability: Probability, reference: Reference, within: Bool[np.ndarray, "*shape"] | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The voxels that count, some along the first axis at a time."""
    rows = max(1, SLAB_VOXELS // max(1, probability[:1].size))
    for first in range(0, len(probability), rows):
        part = slice(first, first + rows)
        kept = ... if within is None else within[part]
        yield probability[part][kept].ravel(), reference[part][kept].ravel()
