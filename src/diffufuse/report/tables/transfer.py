"""Transfer: models on external datasets without adaptation, or the reason why a pair cannot be scored."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from diffufuse.report import cells
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.roles import role_of
from diffufuse.report.selection import segmenting
from diffufuse.study.transfer import refusal, shared_modalities

NOTHING = "The models of this study are tested on no other dataset."
NOT_TESTED = "It has not been tested."


def transfer(evidence: Evidence) -> pd.DataFrame:
    """Every model on every external dataset, with its in-domain result; `clean`, the lesion alone.

    Returns:
        Text: one row per model and pair of datasets; of a pair that cannot be scored one row with the reason. The
        change is external minus in-domain, of different patients. A one-row note if the study has no transfers.
    """
    pairs = [
        (in_domain, external)
        for in_domain in dict.fromkeys(evidence.in_domain["dataset"])
        for external in evidence.transfers
    ]
    if not pairs:
        return cells.sentence(NOTHING)
    rows: list[dict[str, str]] = []
    for in_domain, external in pairs:
        reason = refusal(evidence.datasets[in_domain], evidence.datasets[external])
        names = {"trained on": in_domain, "tested on": external}
        if not reason and not (evidence.external["dataset"] == external).any():
            reason = NOT_TESTED
        if reason:
            rows.append(names | {"model": "all", "refused": reason})
        else:
            rows += [names | _scored(evidence, in_domain, external, model) for model in segmenting(evidence)]
    return cells.without_empty(pd.DataFrame(rows).fillna(""), "refused")


def _scored(evidence: Evidence, in_domain: str, external: str, model: str) -> dict[str, str]:
    blocks = evidence.datasets[in_domain], evidence.datasets[external]
    in_domain_rows = _rows_by_metric(evidence.summary, in_domain, in_domain, model, blocks[0]["lesion"])
    external_rows = _rows_by_metric(evidence.summary, in_domain, external, model, blocks[1]["lesion"])
    if "dice" not in external_rows:
        return {"model": model, "refused": NOT_TESTED}
    row = {
        "model": model,
        "n": str(external_rows["dice"]["patients"]),
        "modalities shared": _shared(_read(evidence, model, blocks[0]), blocks[1]["modalities"]),
        "dice home": cells.mean(in_domain_rows.get("dice")),
        "dice there": cells.mean(external_rows["dice"]),
        "dice change (points)": cells.points(_change(in_domain_rows, external_rows, "dice")),
    }
    if "hd95" in external_rows:
        row["hd95 there (mm)"] = cells.mean(external_rows["hd95"])
        row["hd95 increase (mm)"] = cells.difference(_change(in_domain_rows, external_rows, "hd95"), "mm")
    return row


def _rows_by_metric(
    summary: pd.DataFrame, trained_on: str, tested_on: str, model: str, region: str
) -> dict[str, cells.Row]:
    selection = {"trained_on": trained_on, "dataset": tested_on, "model": model, "region": region, "condition": CLEAN}
    rows = summary[(summary[list(selection)] == list(selection.values())).all(axis=1)]
    return {row["metric"]: row for row in rows.to_dict("records")}


def _change(in_domain_rows: Mapping[str, cells.Row], external_rows: Mapping[str, cells.Row], metric: str) -> float:
    return external_rows[metric]["mean"] - in_domain_rows[metric]["mean"] if metric in in_domain_rows else float("nan")


def _read(evidence: Evidence, model: str, trained: Mapping[str, Any]) -> dict[str, Any]:
    """The modalities of the dataset of its training that a model reads: those of its block, by role or name, or all."""
    pair, modalities = trained.get("pair", {}), trained["modalities"]
    names = [pair.get(name, name) for name in role_of(evidence.models, model).modalities]
    return {name: modalities[name] for name in names or modalities}


def _shared(trained: Mapping[str, Any], tested: Mapping[str, Any]) -> str:
    shared = shared_modalities(trained, tested)
    return ", ".join(name if name == other else f"{name} ({other})" for name, other in shared.items())
