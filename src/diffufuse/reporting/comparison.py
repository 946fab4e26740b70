"""Every model against one, on the same patients."""

from typing import Any

import numpy as np
import pandas as pd

from diffufuse.reporting import cells
from diffufuse.reporting.evidence import Evidence
from diffufuse.reporting.patients import per_patient
from diffufuse.seeds import seed_of
from diffufuse.statistics import bootstrap_interval, hodges_lehmann, holm, signed_rank_p

COMPARED = ("dice", "hd95", "ece")
FAMILY = ["dataset", "trained_on", "region", "metric", "unit", "condition"]
NOTHING = f"Nothing to compare: the study has one model, or none of the metrics {', '.join(COMPARED)}."


def compare(evidence: Evidence) -> pd.DataFrame:
    """Paired differences over patients: every other model minus `compare_with`, on each of `COMPARED` that was asked.

    A patient counts once, by the mean over its examinations and the seeds of a model; a pair with an undefined or
    absent member is left out.

    Returns:
        Columns of `FAMILY`, model, patients (pairs), left_out, zero, difference (mean), low, high (95 % bootstrap
        interval of the mean), hodges_lehmann, p (Wilcoxon signed-rank, NaN for too few) and p_holm, adjusted over the
        models of one row of `FAMILY`. By metric, then condition, then model, in the study's order; empty if there
        is one model or nothing was asked.
    """
    compared = [name for name in evidence.asked if name in COMPARED]
    if not compared:
        return pd.DataFrame()
    values = per_patient(evidence.metrics[evidence.metrics["metric"].isin(compared)], evidence.patients)
    order = values["metric"].map(compared.index).argsort(kind="stable")
    families = [
        _family(group, evidence, dict(zip(FAMILY, map(str, key), strict=True)))
        for key, group in values.iloc[order].groupby(FAMILY, sort=False, observed=True)
    ]
    return pd.DataFrame([row for family in families for row in family])


def comparison(evidence: Evidence) -> pd.DataFrame:
    """The comparisons as text; one row that says so if there is nothing to compare."""
    found = compare(evidence)
    if found.empty:
        return cells.sentence(NOTHING)
    rows = [
        {name: row[name] for name in FAMILY if name not in ("metric", "unit")}
        | {"metric": cells.heading(row["metric"], row["unit"]), "model": row["model"], "against": evidence.compare_with}
        | {name: str(row[name]) for name in ("patients", "left_out", "zero")}
        | {
            "mean difference": cells.difference(row["difference"], row["unit"], low=row["low"], high=row["high"]),
            "Hodges-Lehmann": cells.difference(row["hodges_lehmann"], row["unit"]),
            "p": cells.probability(row["p"]),
            "p (Holm)": cells.probability(row["p_holm"]),
        }
        for row in found.to_dict("records")
    ]
    return cells.without_repetition(pd.DataFrame(rows))


def _family(values: pd.DataFrame, evidence: Evidence, family: dict[str, str]) -> list[dict[str, Any]]:
    wide = values.pivot(index="patient", columns="model", values="value")
    others = [model for model in dict.fromkeys(values["model"]) if model != evidence.compare_with]
    if evidence.compare_with not in wide or not others:
        return []
    rows: list[dict[str, Any]] = []
    for model in others:
        pairs = wide[model] - wide[evidence.compare_with]
        seed = seed_of(evidence.study_seed, "bootstrap", *family.values(), model, evidence.compare_with)
        rows.append(family | {"model": model} | _paired(pairs, seed))
    adjusted = holm(np.array([row["p"] for row in rows]))
    return [row | {"p_holm": p} for row, p in zip(rows, adjusted.tolist(), strict=True)]


def _paired(pairs: pd.Series, seed: int) -> dict[str, float]:
    differences = pairs.dropna().to_numpy()
    low, high = bootstrap_interval(differences, seed=seed)
    return {
        "patients": differences.size,
        "left_out": pairs.size - differences.size,
        "zero": int((differences == 0).sum()),
        "difference": differences.mean() if differences.size else float("nan"),
        "low": low,
        "high": high,
        "hodges_lehmann": hodges_lehmann(differences),
        "p": signed_rank_p(differences),
    }
