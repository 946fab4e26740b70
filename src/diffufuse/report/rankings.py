"""Rankings of models by several metrics at once: mean ranks, their intervals, and whether other seeds give the same."""

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from diffufuse.report.ties import TIE_TOLERANCE

RESAMPLES = 2000
LEVEL = 0.95
AXIS = -2


class Interval(NamedTuple):
    """A number and the ends of its interval over patients; NaN where it is undefined."""

    value: float
    low: float
    high: float


def mean_ranks(means: Float[np.ndarray, "*more model metric"]) -> Float[np.ndarray, "*more model"]:
    """Mean over metrics of each model's rank among the models: 1 is the best, ties share the mean of their ranks.

    Args:
        means: more is better; values that differ by rounding alone are ties. A metric that any model lacks is left out.

    Returns:
        1 to the number of models; NaN if no metric is left.
    """
    sizes = np.abs(np.nan_to_num(means))
    scale = sizes.max(axis=AXIS, keepdims=True, initial=np.finfo(float).tiny)
    rounded = np.round(means / scale, round(-math.log10(TIE_TOLERANCE)))
    ranks = stats.rankdata(-rounded, axis=AXIS, nan_policy="propagate")
    ranked = ~np.isnan(ranks)
    total = np.where(ranked, ranks, 0.0).sum(axis=-1)
    count = ranked.sum(axis=-1)
    found: np.ndarray = np.divide(total, count, out=np.full(total.shape, math.nan), where=count > 0)
    return found


def kendall_tau(ranks: Float[np.ndarray, "*more seed model"]) -> Float[np.ndarray, "*more"]:
    """Mean over pairs of seeds of Kendall's tau-b of their rankings.

    Returns:
        -1 if two seeds turn the order round, 1 if they agree; NaN for one seed, or one that ranks all models alike.

    Source:
        Kendall 1945, doi:10.1093/biomet/33.3.239.
    """
    first, second = np.triu_indices(ranks.shape[-1], k=1)
    signs = np.sign(ranks[..., first] - ranks[..., second])
    untied = np.abs(signs).sum(axis=-1)
    taus = []
    for one, other in combinations(range(ranks.shape[AXIS]), 2):
        concordant = (signs[..., one, :] * signs[..., other, :]).sum(axis=-1)
        size = np.sqrt(untied[..., one] * untied[..., other])
        taus.append(np.divide(concordant, size, out=np.full(np.shape(size), math.nan), where=size > 0))
    return np.mean(taus, axis=0) if taus else np.full(ranks.shape[:AXIS], math.nan)


class Ranking(NamedTuple):
    """The ranking of models.

    Attributes:
        ranks: mean rank of each model, of the mean over seeds, with its interval.
        first: in how many metrics each model has the best mean; equal ones share it.
        metrics: how many were ranked: those that every model has.
        by_seed: (seed, model) mean ranks of each seed.
        tau: between seeds, with its interval.
    """

    ranks: tuple[Interval, ...]
    first: tuple[int, ...]
    metrics: int
    by_seed: Float[np.ndarray, "seed model"]
    tau: Interval


def ranking(values: Float[np.ndarray, "patient seed model metric"], *, seed: int) -> Ranking:
    """Rank models by their means over patients, with percentile bootstrap intervals over patients.

    A patient is drawn with all of its values, so that models, metrics and seeds stay paired.

    Args:
        values: more is better; NaN is undefined and left out of a mean.
        seed: of the resampling.
    """
    patients = len(values)
    draws = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), RESAMPLES)
    weights = np.concatenate([np.ones((1, patients)), draws])
    means = _weighted_means(values, weights)
    by_seed, overall = mean_ranks(means), means.mean(axis=1)
    complete = overall[0][:, ~np.isnan(overall[0]).any(axis=0)]
    leads = np.isclose(complete, complete.max(axis=0), rtol=TIE_TOLERANCE, atol=0.0).sum(axis=1)
    return Ranking(
        tuple(_interval(column, patients) for column in mean_ranks(overall).T),
        tuple(leads.tolist()),
        complete.shape[1],
        by_seed[0],
        _interval(kendall_tau(by_seed), patients),
    )


def _weighted_means(
    values: Float[np.ndarray, "patient seed model metric"], weights: Float[np.ndarray, "draw patient"]
) -> Float[np.ndarray, "draw seed model metric"]:
    flat = values.reshape(len(values), -1)
    defined = ~np.isnan(flat)
    total, count = weights @ np.where(defined, flat, 0.0), weights @ defined
    means: np.ndarray = np.divide(total, count, out=np.full(total.shape, math.nan), where=count > 0)
    return means.reshape(len(weights), *values.shape[1:])


def _interval(samples: Float[np.ndarray, " draw"], patients: int) -> Interval:
    """The first of the samples, which is the estimate, and percentiles of the others."""
    drawn = samples[1:][~np.isnan(samples[1:])]
    if patients < 2 or not drawn.size:
        return Interval(float(samples[0]), math.nan, math.nan)
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Interval(float(samples[0]), float(low), float(high))
