"""How sure a mean over patients is, and whether two models differ on the same patients."""

import math

import numpy as np
from jaxtyping import Float
from scipy import stats

VALUES_AT_ONCE = 100_000
CONSTANT_TOLERANCE = 1e-12
FEWEST = 6


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


def hodges_lehmann(differences: Float[np.ndarray, "n"]) -> float:
    """The median of the means of all pairs of differences, itself included: typical, whatever a few outliers say.

    Args:
        differences: one per patient, any unit.

    Returns:
        In the same unit; NaN without differences.

    Source:
        Hodges and Lehmann 1963, doi:10.1214/aoms/1177704172.
    """
    differences = np.asarray(differences, float)
    first, second = np.triu_indices(differences.size)
    return float(np.median((differences[first] + differences[second]) / 2)) if differences.size else math.nan


def signed_rank_p(differences: Float[np.ndarray, "n"]) -> float:
    """The two-sided p of Wilcoxon's signed-rank test; zeros are ranked, then left out (Pratt).

    Exact without ties and zeros up to 50 differences, and with them up to 13; the normal approximation elsewhere.

    Args:
        differences: one per patient, finite.

    Returns:
        0..1. All differences zero give 1. Fewer than `FEWEST` that are not zero give NaN, too few: five that all
        agree have p = 0.06.

    Source:
        Wilcoxon 1945, doi:10.2307/3001968; Pratt 1959, doi:10.2307/2282543; computed by SciPy.
    """
    differences = np.asarray(differences, float)
    nonzero = np.count_nonzero(differences)
    if nonzero == 0 and differences.size >= FEWEST:
        return 1.0
    if nonzero < FEWEST:
        return math.nan
    return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)


def holm(p: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """p-values of one family of comparisons, adjusted so that any false alarm among them is as rare as each p says.

    The k-th smallest of m is multiplied by m - k + 1, and none is smaller than the one before it.

    Args:
        p: 0..1; NaN is no member of the family.

    Returns:
        At most 1, in the order given; NaN stays NaN.

    Source:
        Holm 1979, https://www.jstor.org/stable/4615733.
    """
    p = np.asarray(p, float)
    adjusted, members = np.full(p.shape, math.nan), np.flatnonzero(~np.isnan(p))
    order = members[np.argsort(p[members], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1)
    return adjusted
