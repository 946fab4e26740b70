"""What a model is worth on a dataset that it was not trained on, or why it cannot be asked."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from diffufuse.report import cells
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.selection import with_own_masks
from diffufuse.study.transfer import refusal, shared_modalities

NOTHING = "The models of this study are tested on no other dataset."
NOT_TESTED = "It has not been tested."


def transfer(evidence: Evidence) -> pd.DataFrame:
    """Every model on every dataset that the study transfers to, beside the model at home; `clean`, the lesion alone.

    Returns:
        Text: one row per model and pair of datasets; of a pair that cannot be scored one row with the reason. The
        change is there minus home, of different patients. One row that says so if the study has no transfers.
    """
    pairs = [(home, there) for home in dict.fromkeys(evidence.at_home["dataset"]) for there in evidence.transfers]
    if not pairs:
        return cells.sentence(NOTHING)
    rows: list[dict[str, str]] = []
    for home, there in pairs:
        reason = refusal(evidence.datasets[home], evidence.datasets[there])
        names = {"trained on": home, "tested on": there}
        if not reason and not (evidence.abroad["dataset"] == there).any():
            reason = NOT_TESTED
        if reason:
            rows.append(names | {"model": "all", "refused": reason})
        else:
            rows += [names | _scored(evidence, home, there, model) for model in with_own_masks(evidence)]
    return cells.without_empty(pd.DataFrame(rows).fillna(""), "refused")


def _scored(evidence: Evidence, home: str, there: str, model: str) -> dict[str, str]:
    blocks = evidence.datasets[home], evidence.datasets[there]
    before = _found(evidence.summary, home, home, model, blocks[0]["lesion"])
    after = _found(evidence.summary, home, there, model, blocks[1]["lesion"])
    if "dice" not in after:
        return {"model": model, "refused": NOT_TESTED}
    row = {
        "model": model,
        "n": str(after["dice"]["patients"]),
        "modalities shared": _shared(blocks[0]["modalities"], blocks[1]["modalities"]),
        "dice home": cells.mean(before.get("dice")),
        "dice there": cells.mean(after["dice"]),
        "dice change (points)": cells.points(_change(before, after, "dice")),
    }
    if "hd95" in after:
        row["hd95 there (mm)"] = cells.mean(after["hd95"])
        row["hd95 increase (mm)"] = cells.difference(_change(before, after, "hd95"), "mm")
    return row


def _found(summary: pd.DataFrame, home: str, there: str, model: str, region: str) -> dict[str, cells.Row]:
    kept = {"trained_on": home, "dataset": there, "model": model, "region": region, "condition": CLEAN}
    rows = summary[(summary[list(kept)] == list(kept.values())).all(axis=1)]
    return {row["metric"]: row for row in rows.to_dict("records")}


def _change(before: Mapping[str, cells.Row], after: Mapping[str, cells.Row], metric: str) -> float:
    return after[metric]["mean"] - before[metric]["mean"] if metric in before else float("nan")


def _shared(trained: Mapping[str, Any], tested: Mapping[str, Any]) -> str:
    shared = shared_modalities(trained, tested)
    return ", ".join(name if name == other else f"{name} ({other})" for name, other in shared.items())
