"""A histogram of predicted probabilities by true class: the basis of every metric of probabilities.

Probabilities are stored in steps of 1/65535, so the counts of 65536 levels, of voxels inside and outside the reference,
lose nothing: calibration with any bins, ROC and PR curves, proper scores, temperatures and prediction sets are exact
functions of them. The size does not depend on the number of voxels, the counts are accumulated slab by slab, and those
of several patients are the sum of theirs.
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
    """Number of voxels per predicted probability, inside and outside the reference.

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
    """The forecast of a volume, accumulated slab by slab in a few megabytes of memory.

    Args:
        probability: 0..1, or a mask, which counts as certain. Rounded to steps of 1/65535.
        reference: boolean, same shape.
        within: boolean, same shape: the voxels to include; by default all.

    Raises:
        ValueError: a probability is not in 0..1.
    """
    total = np.zeros(2 * LEVELS, np.int64)
    for predicted, inside in _slabs(probability, reference, within):
        if predicted.size and not (predicted.min() >= 0 and predicted.max() <= 1):
            raise ValueError(f"probability: expected 0..1, got {predicted.min()}..{predicted.max()}")
        level = np.rint(predicted * np.float64(STEPS)).astype(np.int64)
        total += np.bincount(2 * level + inside, minlength=2 * LEVELS)
    return _of_counts(total[1::2], total[::2])


def pooled(forecasts: Iterable[Forecast]) -> Forecast:
    """The sum of several forecasts."""
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
    """The included voxels, in slabs along the first axis."""
    rows = max(1, SLAB_VOXELS // max(1, probability[:1].size))
    for first in range(0, len(probability), rows):
        part = slice(first, first + rows)
        selected = ... if within is None else within[part]
        yield probability[part][selected].ravel(), reference[part][selected].ravel()
