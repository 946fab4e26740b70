"""Paired comparisons of every model with one, on the same patients."""

from typing import Any

import numpy as np
import pandas as pd

from diffufuse.metrics.registry import IMAGE, of_masks
from diffufuse.report import cells
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.nouns import noun_of
from diffufuse.report.patients import per_patient
from diffufuse.report.selection import asked_of, with_own_masks
from diffufuse.report.statistics import (
    bootstrap_interval,
    hodges_lehmann,
    holm,
    not_paired,
    rank_biserial,
    refusal,
    signed_rank_p,
)
from diffufuse.report.ties import with_ties
from diffufuse.seeds import seed_of

OF_IMAGES = ("psnr", "ssim", "sf", "qabf", "vif")
COMPARED = ("dice", "iou", "hd95", "ece", *OF_IMAGES)
ON_CLEAN_ALONE = ("iou",)  # it orders pairs as Dice does, and is reported for comparison with the paper
FAMILY = ["dataset", "trained_on", "region", "metric", "unit", "condition"]
NOTHING = f"Nothing to compare: the study has one model, or none of the metrics {', '.join(COMPARED)}."
COUNTS = ("patients", "left_out", "zero")
NAN = float("nan")


def compare(evidence: Evidence) -> pd.DataFrame:
    """Paired differences over patients: every other model minus `compare_with`, on each reported metric of `COMPARED`.

    A patient counts once, by the mean over its examinations and the seeds of a model; a pair with an undefined member
    is left out. Models are compared in-domain, and by their fused images on other datasets too. Mask metrics of a model
    that only scales the probabilities of another are left out.

    Returns:
        Columns of `FAMILY`, model, patients (pairs), left_out, zero, difference (mean), low, high (95 % bootstrap
        interval of the mean), hodges_lehmann, rank_biserial, p (Wilcoxon signed-rank; NaN where it is refused), refusal
        (its reason, or empty) and p_holm, adjusted over the models of one row of `FAMILY`. By metric, then condition,
        then model, in the study's order; IoU under `clean` alone. Empty if there is one model or no such metric.
    """
    metrics, metrics_table = asked_of(evidence, COMPARED), _comparable(evidence)
    borrowed = [name for name in metrics if of_masks(name)]
    redundant = metrics_table["metric"].isin(borrowed) & ~metrics_table["model"].isin(with_own_masks(evidence))
    redundant |= metrics_table["metric"].isin(ON_CLEAN_ALONE) & (metrics_table["condition"] != CLEAN)
    values = per_patient(metrics_table[metrics_table["metric"].isin(metrics) & ~redundant], evidence.patients)
    order = values["metric"].map({name: rank for rank, name in enumerate(metrics)}).argsort(kind="stable")
    families = [
        _family(group, evidence, dict(zip(FAMILY, map(str, key), strict=True)))
        for key, group in values.iloc[order].groupby(FAMILY, sort=False, observed=True)
    ]
    return pd.DataFrame([row for family in families for row in family])


def _comparable(evidence: Evidence) -> pd.DataFrame:
    metrics = evidence.metrics
    return metrics[(metrics["dataset"] == metrics["trained_on"]) | (metrics["region"] == IMAGE)]


def comparison(evidence: Evidence) -> pd.DataFrame:
    """The comparisons as text; a one-row note if there is nothing to compare."""
    comparisons = compare(evidence)
    if comparisons.empty:
        return cells.sentence(NOTHING)
    noun = noun_of(evidence, comparisons["dataset"])
    rows = [
        {name: row[name] for name in ("dataset", "region", "condition")}
        | {"metric": cells.heading(row["metric"], row["unit"]), "model": row["model"], "against": evidence.compare_with}
        | {noun if name == "patients" else name: str(row[name]) for name in COUNTS}
        | {
            "mean difference": cells.difference(row["difference"], row["unit"], low=row["low"], high=row["high"]),
            "Hodges-Lehmann": cells.difference(row["hodges_lehmann"], row["unit"]),
            "rank-biserial": cells.difference(row["rank_biserial"], "effect"),
            "p": cells.probability(row["p"]),
            "p (Holm)": cells.probability(row["p_holm"]),
            "note": row["refusal"].replace("patients", noun),
        }
        for row in comparisons.to_dict("records")
    ]
    return cells.without_empty(pd.DataFrame(rows), "note")


def paired(values: pd.DataFrame, model: str, against: str, *, study_seed: int) -> dict[str, Any]:
    """One model minus another, patient by patient.

    Args:
        values: of one row of `FAMILY`, from `per_patient`.
        model: name of the model.
        against: name of the model to subtract.
        study_seed: seed of the study, for the bootstrap; a pair has the same interval in every table.

    Returns:
        As `compare`, without p_holm. All NaN for two models that were not tested on the same patients.
    """
    one, other = (values[values["model"] == name].set_index("patient")["value"] for name in (model, against))
    not_comparable = not_paired(model, list(one.index), against, list(other.index))
    pairs = (one - other).to_numpy(float)
    scale = max(one.abs().max(), other.abs().max())
    differences = np.array([]) if not_comparable else with_ties(pairs[~np.isnan(pairs)], scale=scale)
    seed = seed_of(study_seed, "bootstrap", *map(str, values.iloc[0][FAMILY]), model, against)
    low, high = bootstrap_interval(differences, seed=seed)
    return {
        "patients": differences.size,
        "left_out": pairs.size - differences.size,
        "zero": int((differences == 0).sum()),
        "difference": differences.mean() if differences.size else NAN,
        "low": low,
        "high": high,
        "hodges_lehmann": hodges_lehmann(differences),
        "rank_biserial": rank_biserial(differences),
        "p": signed_rank_p(differences),
        "refusal": not_comparable or refusal(differences) or "",
    }


def _family(values: pd.DataFrame, evidence: Evidence, family: dict[str, str]) -> list[dict[str, Any]]:
    models = list(dict.fromkeys(values["model"]))
    others = [model for model in models if model != evidence.compare_with]
    if evidence.compare_with not in models or not others:
        return []
    rows: list[dict[str, Any]] = []
    for model in others:
        statistics = paired(values, model, evidence.compare_with, study_seed=evidence.study_seed)
        rows.append(family | {"model": model} | statistics)
    adjusted = holm(np.array([row["p"] for row in rows]))
    return [row | {"p_holm": p} for row, p in zip(rows, adjusted.tolist(), strict=True)]
