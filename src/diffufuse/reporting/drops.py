"""What Dice a model loses where modalities are withheld or images corrupted, against what it has under `clean`."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from diffufuse.reporting import cells
from diffufuse.reporting.evidence import CLEAN, Evidence
from diffufuse.reporting.patients import per_patient

PLACE = ["dataset", "trained_on", "region"]


def missing_modalities(evidence: Evidence) -> pd.DataFrame:
    """Dice under each condition that withholds modalities: one row per condition, one column per model.

    Returns:
        Text, as `robustness` has it; one row that says so if the study has no such condition.
    """
    return _drops(evidence, "absent", otherwise="No condition of this study withholds a modality.")


def robustness(evidence: Evidence) -> pd.DataFrame:
    """Dice under each condition that corrupts images: one row per condition, one column per model.

    Returns:
        Text: `mean (change)` over patients, the change in points against `clean` on the patients that have both, and
        `unseen` where the model's training never met the corruption, or never a missing modality. `clean` stands
        first. One row that says so if the study has no such condition.
    """
    return _drops(evidence, "corruption", otherwise="No condition of this study corrupts an image.")


def _drops(evidence: Evidence, part: str, *, otherwise: str) -> pd.DataFrame:
    harmed = [name for name, block in evidence.conditions.items() if part in block]
    if not harmed:
        return cells.sentence(otherwise)
    values = per_patient(evidence.metrics[evidence.metrics["metric"] == "dice"], evidence.patients)
    rows = []
    for key, group in values.groupby(PLACE, sort=False, observed=True):
        place = dict(zip(PLACE, map(str, key), strict=True))
        for name in [CLEAN, *harmed] if CLEAN in evidence.conditions else harmed:
            row: dict[str, str] = {
                str(model): _cell(found, name)
                + _mark(evidence.runs, evidence.conditions[name], (place["trained_on"], str(model)))
                for model, found in group.groupby("model", sort=False, observed=True)
            }
            rows.append({**place, "condition": name, **row})
    return cells.without_repetition(pd.DataFrame(rows).fillna(""))


def _cell(values: pd.DataFrame, condition: str) -> str:
    wide = values.pivot(index="patient", columns="condition", values="value")
    if condition not in wide or wide[condition].isna().all():
        return ""
    text = f"{wide[condition].mean():.3f}"
    if condition == CLEAN or CLEAN not in wide:
        return text
    return f"{text} ({cells.points((wide[condition] - wide[CLEAN]).mean())})"


def _mark(runs: pd.DataFrame, condition: Mapping[str, Any], run: tuple[str, str]) -> str:
    """Whether the training never met what a condition does; nothing where the training is not known."""
    known = runs[(runs["dataset"] == run[0]) & (runs["model"] == run[1])]
    if known.empty:
        return ""
    learned = known.iloc[0]
    unseen = "absent" in condition and learned["modality_dropout"] == 0
    unseen |= "corruption" in condition and condition["corruption"] not in learned["corruptions"].split(",")
    return " unseen" if unseen else ""
