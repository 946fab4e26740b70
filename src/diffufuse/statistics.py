"""How sure a mean over patients is."""

import math

import numpy as np
from jaxtyping import Float
from scipy import stats

VALUES_AT_ONCE = 100_000
CONSTANT_TOLERANCE = 1e-12


def bootstrap_interval(
    values: Float[np.ndarray, "n"], *, level: float = 0.95, seed: int, resamples: int = 10_000
) -> tuple[float, float]:
    """Interval of the mean, by the bias-corrected and accelerated bootstrap.

    Coverage is nominal only for some 50 patients and more; with fewer the interval is too short, and a table says so
    by its n.

    Args:
        values: one per patient, any unit.
        level: share of such intervals that should hold the true mean, 0..1.
        seed: of the resampling.
        resamples: number of bootstrap samples.

    Returns:
        Lower and upper end in the unit of the values; (NaN, NaN) for fewer than two values; the value twice if
        all are equal.

    Raises:
        ValueError: a value is NaN or infinite: undefined values are left out, and counted, by the caller.

    Source:
        Efron 1987, doi:10.1080/01621459.1987.10478410.
    """
    values = np.asarray(values, float)
    if not np.isfinite(values).all():
        raise ValueError(f"values: expected finite numbers, got {np.count_nonzero(~np.isfinite(values))} that are not")
    if values.size < 2:
        return math.nan, math.nan
    center, width = values.mean(), np.ptp(values)
    if width <= CONSTANT_TOLERANCE * np.abs(values).max():
        return float(values.min()), float(values.max())
    # the third powers inside BCa underflow for tiny values, so it sees them scaled; the interval scales back exactly
    found = stats.bootstrap(
        ((values - center) / width,),
        np.mean,
        confidence_level=level,
        n_resamples=resamples,
        batch=max(1, VALUES_AT_ONCE // values.size),
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    low, high = (float(center + width * end) for end in found.confidence_interval)
    return low, high
