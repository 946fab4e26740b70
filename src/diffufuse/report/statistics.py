"""Statistics over patients: bootstrap intervals, paired tests, effect sizes and AURC."""

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from diffufuse.report.ties import tie_groups, with_ties

VALUES_AT_ONCE = 100_000
CONSTANT_TOLERANCE = 1e-12
FEWEST = 6
EXACT_UP_TO = 50


def bootstrap_interval(
    values: Float[np.ndarray, "n"], *, level: float = 0.95, seed: int, resamples: int = 10_000
) -> tuple[float, float]:
    """Confidence interval of the mean, by the bias-corrected and accelerated (BCa) bootstrap.

    Coverage is nominal only from about 50 patients; with fewer the interval is too short, so tables state n.

    Args:
        values: one per patient, any unit.
        level: confidence level, 0..1.
        seed: of the resampling.
        resamples: number of bootstrap samples.

    Returns:
        Lower and upper end in the unit of the values; (NaN, NaN) for fewer than two values; the value twice if
        all are equal.

    Raises:
        ValueError: a value is NaN or infinite; the caller leaves undefined values out and counts them.

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
    # the third powers inside BCa underflow for tiny values, so they are scaled; the interval scales back exactly
    result = stats.bootstrap(
        ((values - center) / width,),
        np.mean,
        confidence_level=level,
        n_resamples=resamples,
        batch=max(1, VALUES_AT_ONCE // values.size),
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    low, high = (float(center + width * end) for end in result.confidence_interval)
    return low, high


def hodges_lehmann(differences: Float[np.ndarray, "n"]) -> float:
    """Hodges-Lehmann estimate: the median of the means of all pairs of differences, robust to outliers.

    Args:
        differences: one per patient, any unit.

    Returns:
        In the same unit; NaN without differences.

    Source:
        Hodges and Lehmann 1963, doi:10.1214/aoms/1177704172.
    """
    differences = with_ties(differences)
    first, second = np.triu_indices(differences.size)
    return float(np.median((differences[first] + differences[second]) / 2)) if differences.size else math.nan


def signed_rank_p(differences: Float[np.ndarray, "n"]) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test; zeros are ranked, then left out (Pratt).

    Exact, also with ties and zeros, up to 50 nonzero differences; the normal approximation beyond, which with many
    zeros could give a smaller p than is possible for so few differences. Differences that are equal but for rounding
    are ties, see `ties`.

    Args:
        differences: one per patient, finite.

    Returns:
        0..1; 1 if all differences are zero; NaN for fewer than `FEWEST` nonzero ones, as five of equal sign have
        p = 0.06.

    Source:
        Wilcoxon 1945, doi:10.2307/3001968; Pratt 1959, doi:10.2307/2282543; the approximation computed by SciPy.
    """
    differences = with_ties(differences)
    nonzero = np.count_nonzero(differences)
    if nonzero == 0 and differences.size >= FEWEST:
        return 1.0
    if nonzero < FEWEST:
        return math.nan
    if nonzero > EXACT_UP_TO:
        return float(stats.wilcoxon(differences, zero_method="pratt", method="approx").pvalue)
    doubled_ranks = np.rint(2 * stats.rankdata(np.abs(differences))).astype(int)
    return _exact_p(doubled_ranks[differences != 0], int(doubled_ranks[differences > 0].sum()))


def smallest_p(differing: int) -> float:
    """The smallest possible two-sided p-value of the signed-rank test: 2 of 2^n signs.

    Args:
        differing: number of nonzero differences.
    """
    return min(1.0, 2.0 ** (1 - differing))


def rank_biserial(differences: Float[np.ndarray, "n"]) -> float:
    """Matched-pairs rank-biserial correlation, the effect size of the signed-rank test: (W+ - W-) / (W+ + W-).

    As in `signed_rank_p`, zeros are ranked, then left out (Pratt).

    Args:
        differences: one per patient, finite.

    Returns:
        -1 if all nonzero differences are negative, 1 if all are positive; NaN if all are zero.

    Source:
        Kerby 2014, doi:10.2466/11.IT.3.1.
    """
    differences = with_ties(differences)
    ranks = stats.rankdata(np.abs(differences))
    more, less = ranks[differences > 0].sum(), ranks[differences < 0].sum()
    return float((more - less) / (more + less)) if more + less else math.nan


def refusal(differences: Float[np.ndarray, "n"]) -> str | None:
    """The reason why paired differences have no meaningful p-value, as a note for a table.

    Args:
        differences: one per patient, finite.

    Returns:
        None where the signed-rank test can be applied.
    """
    differences = with_ties(differences)
    differing = int(np.count_nonzero(differences))
    if differences.size >= FEWEST and not differing:
        return f"Nothing differs: the two are identical on all {differences.size} patients."
    if differing >= FEWEST:
        return None
    zeros = differences.size - differing
    counted = f"n = {differing}" if not zeros else f"n = {differing} besides {zeros} that are identical"
    return (
        f"Too few patients: {counted}; the smallest possible p is {smallest_p(differing):.4g}; {FEWEST} differing "
        "patients are needed."
    )


def not_paired(first: str, firsts: Collection[str], second: str, seconds: Collection[str]) -> str | None:
    """The reason why two models cannot be compared patient by patient, as a note for a table.

    Args:
        first: name of a model.
        firsts: its test patients.
        second: name of another model.
        seconds: likewise.

    Returns:
        None where both were tested on the same patients.
    """
    shared = len(set(firsts) & set(seconds))
    if shared == len(set(firsts)) == len(set(seconds)):
        return None
    return (
        f"Not paired: {first} was tested on {len(set(firsts))} patients, {second} on {len(set(seconds))}; they share "
        f"{shared}. Test both on the same patients."
    )


class Spread(NamedTuple):
    """Between-seed and between-patient variation of a model's mean.

    Attributes:
        seeds: number of seeds.
        patients: number of patients with a value under every seed.
        between_seeds: SD over seeds of the mean over patients.
        between_patients: SD over patients of their mean over seeds.
    """

    seeds: int
    patients: int
    between_seeds: float
    between_patients: float


def spread(values: Float[np.ndarray, "patient seed"]) -> Spread:
    """Standard deviation of a metric between seeds and between patients.

    Confidence intervals over patients do not include the variation between seeds.

    Args:
        values: NaN is undefined; patients with undefined values are left out.

    Returns:
        Sample standard deviations (n - 1) in the unit of the values; NaN for fewer than two seeds or patients.
    """
    values = np.asarray(values, float)
    complete = values[~np.isnan(values).any(axis=1)]
    if not complete.size:
        return Spread(values.shape[1], len(complete), math.nan, math.nan)
    return Spread(values.shape[1], len(complete), _sd(complete.mean(axis=0)), _sd(complete.mean(axis=1)))


def aurc(risk: Float[np.ndarray, "n"], uncertainty: Float[np.ndarray, "n"]) -> float:
    """Area under the risk-coverage curve: the mean risk of the k least uncertain patients, averaged over k = 1..n.

    It is minimal if the uncertainty orders patients as their risk does, and near the mean risk if the uncertainty is
    uninformative.

    Args:
        risk: one per patient, such as 1 - Dice.
        uncertainty: one per patient; the expectation over random orders of ties is returned.

    Returns:
        In the unit of the risk; NaN without patients.

    Source:
        Geifman, Uziel and El-Yaniv 2019, arXiv:1805.08206.
    """
    risk, uncertainty = np.asarray(risk, float), np.asarray(uncertainty, float)
    if not risk.size:
        return math.nan
    tie_group = tie_groups(uncertainty)
    group_sizes = np.bincount(tie_group)
    expected = (np.bincount(tie_group, weights=risk) / group_sizes)[np.sort(tie_group)]
    return float((np.cumsum(expected) / np.arange(1, risk.size + 1)).mean())


def holm(p: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Holm-adjusted p-values of one family of comparisons, which control the family-wise error rate.

    The k-th smallest of m is multiplied by m - k + 1, and none is smaller than the one before it.

    Args:
        p: 0..1; NaN is not part of the family.

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


def _sd(values: Float[np.ndarray, "n"]) -> float:
    return float(np.std(values, ddof=1)) if values.size > 1 else math.nan


def _exact_p(ranks: Int[np.ndarray, "n"], observed: int) -> float:
    """Exact two-sided p-value: the share of the 2^n signs with a rank sum at least as extreme as observed."""
    counts = np.zeros(ranks.sum() + 1, np.int64)
    counts[0] = 1
    for rank in ranks:
        counts[rank:] = counts[rank:] + counts[:-rank]
    tail = min(counts[: observed + 1].sum(), counts[observed:].sum())
    return min(1.0, 2.0 * float(tail) / 2.0**ranks.size)
