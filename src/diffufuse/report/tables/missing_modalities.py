"""Dice under missing modalities, averages by number of modalities, and the counter-intuitive rate."""

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import pandas as pd

from diffufuse.conditions.apply import withheld
from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.selection import with_own_masks
from diffufuse.report.tables.ablation import gates_off
from diffufuse.report.tables.robustness import Wide, dice_by_condition, drop, with_clean, withholds

Subset = frozenset[str]


def missing_modalities(evidence: Evidence) -> pd.DataFrame:
    """Dice under each condition that withholds modalities: one row per condition, one column per model.

    Returns:
        Text: `mean (change)` over patients, the change in points against `clean` on the patients that have both, and
        `unseen` where the model's training never withheld a modality. A model with uniform gates follows the one
        whose weights it uses, and then the gain of the gates in points. The last rows are the averages over the subsets
        of equal size, and the share of nested pairs of subsets of which the larger scores worse. A one-row note if the
        study withholds no modality.
    """
    withheld = [name for name, block in evidence.conditions.items() if withholds(block)]
    if not withheld:
        return cells.sentence("No condition of this study withholds a modality.")
    conditions = with_clean(evidence, withheld)
    rows: list[dict[str, str]] = []
    for place, wide in dice_by_condition(evidence, conditions, _beside_their_weights(evidence)):
        modalities = list(evidence.datasets[place["dataset"]].get("modalities", ()))
        subsets = {name: present(evidence.conditions[name], modalities) for name in conditions}
        for name in conditions:
            available = [modality for modality in modalities if modality in subsets[name]]
            row = {model: drop(evidence, place, wide, model, name) for model in wide}
            rows.append(
                place | {"condition": name, "present": ", ".join(available)} | _gains(evidence, wide, row, name)
            )
        rows += [place | row for row in _over_subsets(wide, subsets, len(modalities))] if modalities else []
    return cells.without_empty(pd.DataFrame(rows).fillna(""), "present")


def present(condition: Mapping[str, Any], modalities: Sequence[str]) -> Subset:
    """The modalities of a dataset that a condition keeps."""
    return frozenset(modalities) - frozenset(withheld(condition, modalities))


def counterintuitive(means: Mapping[Subset, float]) -> tuple[int, int]:
    """Count nested pairs of modality subsets of which the larger scores worse.

    Args:
        means: Dice by present modalities.

    Returns:
        Number of nested pairs in which the larger subset has the smaller mean, and number of all nested pairs.

    Source:
        The counter-intuitive rate of SimMLM, Li et al. 2025, arXiv:2507.19264.
    """
    pairs = [(fewer, more) for fewer, more in permutations(means, 2) if fewer < more]
    return sum(means[more] < means[fewer] for fewer, more in pairs), len(pairs)


def _beside_their_weights(evidence: Evidence) -> list[str]:
    """The models with own masks, those with uniform gates right after those whose weights they use."""
    models, blocks = with_own_masks(evidence), evidence.models
    uniform = [name for name in models if gates_off(blocks[name]) and blocks[name]["weights_of"] in models]
    ordered: list[str] = []
    for name in (name for name in models if name not in uniform):
        ordered += [name, *(other for other in uniform if blocks[other]["weights_of"] == name)]
    return ordered


def _gains(evidence: Evidence, wide: Wide, row: Mapping[str, str], condition: str) -> dict[str, str]:
    """The row, with the gain of the gates after each model with uniform gates, on the same patients."""
    cells_by_column: dict[str, str] = {}
    for model, text in row.items():
        cells_by_column[model] = text
        block = evidence.models[model]
        if gates_off(block) and block["weights_of"] in wide:
            gates, uniform = wide[block["weights_of"]], wide[model]
            defined = condition in gates and condition in uniform
            gain = (gates[condition] - uniform[condition]).mean() if defined else float("nan")
            cells_by_column[f"{block['weights_of']}: gain of gates"] = cells.points(gain)
    return cells_by_column


def _over_subsets(wide: Wide, subsets: Mapping[str, Subset], modalities: int) -> list[dict[str, str]]:
    """The averages by number of modalities present, most first, and the counter-intuitive rate."""
    means = {model: _mean_by_subset(by_subset, subsets) for model, by_subset in wide.items()}
    rows = []
    for size in sorted({len(subset) for subset in subsets.values()}, reverse=True):
        count = len({subset for subset in subsets.values() if len(subset) == size})
        row = {
            "condition": f"average with {size} of {modalities} present",
            "present": f"{count} subset{'s' if count > 1 else ''}",
        }
        for model, by_subset in means.items():
            of_size = [mean for subset, mean in by_subset.items() if len(subset) == size]
            row[model] = f"{sum(of_size) / len(of_size):.3f}" if len(of_size) == count else ""
        rows.append(row)
    rates = {model: _rate(*counterintuitive(by_subset)) for model, by_subset in means.items()}
    return [*rows, {"condition": "more modalities, worse", "present": "pairs of subsets"} | rates]


def _mean_by_subset(wide: pd.DataFrame, subsets: Mapping[str, Subset]) -> dict[Subset, float]:
    """Mean Dice per subset; of several conditions with the same modalities the first counts."""
    means: dict[Subset, float] = {}
    for condition, subset in subsets.items():
        if condition in wide and wide[condition].notna().any():
            means.setdefault(subset, float(wide[condition].mean()))
    return means


def _rate(worse: int, pairs: int) -> str:
    return f"{worse / pairs:.2f} ({worse} of {pairs})" if pairs else ""
