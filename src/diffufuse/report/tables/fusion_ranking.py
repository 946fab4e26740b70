"""Which fuser is best over all metrics of fused images, and whether another training would say the same."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from diffufuse.metrics.fusion.catalogue import FUSION_METRICS
from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.rankings import Interval, ranking
from diffufuse.report.tables.fusion import NO_TRAINING, NOTHING, asked_of_images, of_fused
from diffufuse.seeds import seed_of

FUSER = ["trained on", "model"]
ALL, TRAINED = "all", "all that were trained"
WITH_SOURCES = "mean rank, metrics that read the sources"
BY_SEED = "mean rank of each seed"
TAU = "Kendall's tau between seeds"


def fusion_ranking(evidence: Evidence) -> pd.DataFrame:
    """Mean rank of every fuser over the reported metrics, by dataset, the best first.

    Returns:
        Text: one row per dataset of the training and model, of which rules have `nothing`; with several seeds also a
        row or two for how far these agree. A one-row note if fewer than two fused a dataset.
    """
    rows = of_fused(evidence.metrics, evidence)
    table = [
        {"dataset": str(dataset)} | row
        for dataset, group in rows.groupby("dataset", sort=False)
        if len(group[FUSER].drop_duplicates()) > 1
        for row in _ranked(group, evidence, seed=seed_of(evidence.study_seed, "ranking", str(dataset)))
    ]
    return cells.without_empty(pd.DataFrame(table).fillna(""), BY_SEED) if table else cells.sentence(NOTHING)


def _ranked(rows: pd.DataFrame, evidence: Evidence, *, seed: int) -> list[dict[str, str]]:
    fusers = list(dict.fromkeys(zip(*(rows[name] for name in FUSER), strict=True)))
    metrics = [name for name in asked_of_images(evidence) if name in set(rows["metric"])]
    values = _values(rows, evidence, fusers, metrics)
    compared = [place for place, name in enumerate(metrics) if FUSION_METRICS[name].sources != "none"]
    overall, of_compared = (ranking(part, seed=seed) for part in (values, values[..., compared]))
    several = len(overall.by_seed) > 1
    told = [
        {
            **dict(zip(FUSER, fuser, strict=True)),
            "n": str(len(values)),
            "mean rank": _told(overall.ranks[place]),
            WITH_SOURCES: _told(of_compared.ranks[place]),
            "first in": f"{overall.first[place]} of {overall.metrics}",
            BY_SEED: ", ".join(f"{ranks[place]:.2f}" for ranks in overall.by_seed) if several else "",
        }
        for place, fuser in enumerate(fusers)
    ]
    order = np.argsort([one.value for one in overall.ranks], kind="stable")
    trained = [place for place, (trained_on, _) in enumerate(fusers) if trained_on != NO_TRAINING]
    taus = {ALL: overall.tau} if several else {}
    if several and 1 < len(trained) < len(fusers):
        taus[TRAINED] = ranking(values[:, :, trained], seed=seed).tau
    agreement = [{"model": name, "n": str(len(values)), TAU: _told(tau)} for name, tau in taus.items()]
    return [*(told[place] for place in order), *agreement]


def _values(
    rows: pd.DataFrame, evidence: Evidence, fusers: Sequence[tuple[str, str]], metrics: Sequence[str]
) -> Float[np.ndarray, "patient seed fuser metric"]:
    """The metrics of every patient, each turned so that more is better; undefined as in `per_patient`."""
    rows = rows.assign(patient=rows["case"].map(dict(evidence.patients)))
    runs = rows.groupby(["patient", "seed", *FUSER, "metric"], observed=True)["value"]
    found = runs.mean().where(runs.count() == runs.size())
    patients, seeds = sorted(set(rows["patient"])), sorted(set(rows["seed"]))
    places = [
        (patient, seed, *fuser, metric)
        for patient in patients
        for seed in seeds
        for fuser in fusers
        for metric in metrics
    ]
    whole = found.reindex(pd.MultiIndex.from_tuples(places)).to_numpy(float)
    signs = [-1.0 if FUSION_METRICS[name].better == "lower" else 1.0 for name in metrics]
    return whole.reshape(len(patients), len(seeds), len(fusers), len(metrics)) * signs


def _told(found: Interval) -> str:
    if math.isnan(found.value):
        return "undefined"
    ends = "" if math.isnan(found.low) else f" [{found.low:.2f}, {found.high:.2f}]"
    return f"{found.value:.2f}{ends}"
