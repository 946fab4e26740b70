"""Robustness: Dice under image corruptions, and its change against `clean`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from diffufuse.report import cells
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.selection import in_domain_values, places, with_own_masks

Wide = Mapping[str, pd.DataFrame]


def robustness(evidence: Evidence) -> pd.DataFrame:
    """Dice under each condition that corrupts images: one row per condition, one column per model.

    Returns:
        Text: `mean (change)` over patients, the change in points against `clean` on the patients that have both, and
        `unseen` if the model's training did not include the corruption. `clean` comes first. A one-row note if the
        study has no such condition.
    """
    corrupted = [name for name, block in evidence.conditions.items() if "corruption" in block]
    if not corrupted:
        return cells.sentence("No condition of this study corrupts an image.")
    conditions = with_clean(evidence, corrupted)
    rows = [
        place | {"condition": name} | {model: drop(evidence, place, wide, model, name) for model in wide}
        for place, wide in dice_by_condition(evidence, conditions, with_own_masks(evidence))
        for name in conditions
    ]
    return pd.DataFrame(rows).fillna("")


def with_clean(evidence: Evidence, conditions: Sequence[str]) -> list[str]:
    """The conditions, after `clean` if the study has it."""
    return [CLEAN, *conditions] if CLEAN in evidence.conditions else list(conditions)


def dice_by_condition(
    evidence: Evidence, conditions: Sequence[str], models: Sequence[str]
) -> Iterator[tuple[dict[str, str], dict[str, pd.DataFrame]]]:
    """For every dataset and region, by model in the order given: one row per patient, one column per condition."""
    values = in_domain_values(evidence, ["dice"], models=models, conditions=conditions)
    for dataset, region in places(values):
        of_place = values[(values["dataset"] == dataset) & (values["region"] == region)]
        available = [name for name in models if name in set(of_place["model"])]
        wide = {
            name: of_place[of_place["model"] == name].pivot(index="patient", columns="condition", values="value")
            for name in available
        }
        yield {"dataset": dataset, "region": region}, wide


def drop(evidence: Evidence, place: Mapping[str, str], wide: Wide, model: str, condition: str) -> str:
    """Cell text: the mean under a condition, its change against `clean`, and `unseen` if not part of the training."""
    values = wide[model]
    if condition not in values or values[condition].isna().all():
        return ""
    unseen = _unseen(evidence.runs, evidence.conditions[condition], place["dataset"], model)
    text = f"{values[condition].mean():.3f}"
    if condition != CLEAN and CLEAN in values:
        text += f" ({cells.points((values[condition] - values[CLEAN]).mean())})"
    return f"{text} unseen" if unseen else text


def withholds(condition: Mapping[str, Any]) -> bool:
    """Whether a condition withholds modalities, by naming the absent or the present ones."""
    return "absent" in condition or "present" in condition


def _unseen(runs: pd.DataFrame, condition: Mapping[str, Any], dataset: str, model: str) -> bool:
    """Whether the training did not include what a condition does; False if the training is unknown."""
    of_model = runs[(runs["dataset"] == dataset) & (runs["model"] == model)]
    if of_model.empty:
        return False
    run = of_model.iloc[0]
    unseen = withholds(condition) and run["modality_dropout"] == 0
    return bool(unseen or ("corruption" in condition and condition["corruption"] not in run["corruptions"].split(",")))
