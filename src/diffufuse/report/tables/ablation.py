"""Ablations: the method without each of its parts, on the same patients."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.selection import SIZES, asked_of, in_domain_statistics, in_domain_values, places, with_own_masks
from diffufuse.report.tables.comparison import paired

SHOWN = ("dice", "iou", "hd95")
DIFFERENCES = ("dice", "hd95")
BACKBONE = "multi_encoder"
NOTHING = "Nothing is left out: the study has no ablation of the model that it compares with."


def ablation(evidence: Evidence) -> pd.DataFrame:
    """The full model, and it without each of its parts, under `clean`.

    Returns:
        Text: one row per ablation, with the mean of each metric and the paired difference to the full model; a
        one-row note if the study has no ablation.
    """
    parts = ablations(evidence)
    if len(parts) < 2:
        return cells.sentence(NOTHING)
    models, metrics = [model for _, model in parts], asked_of(evidence, SHOWN)
    statistics = in_domain_statistics(evidence, models=models)
    values = in_domain_values(evidence, metrics, models=models)
    rows: list[dict[str, str]] = []
    for dataset, region in places(values):
        of_place = values[(values["dataset"] == dataset) & (values["region"] == region)]
        for what, model in parts:
            by_metric = {
                name: statistics[dataset, region, model, name]
                for name in metrics
                if (dataset, region, model, name) in statistics
            }
            if by_metric:
                patients = str(max(row["patients"] for row in by_metric.values()))
                rows.append(
                    {"dataset": dataset, "region": region, "what": what, "model": model, "n": patients}
                    | {cells.heading(name, row["unit"]): cells.mean(row) for name, row in by_metric.items()}
                    | _against_full(of_place, evidence, model, [name for name in DIFFERENCES if name in by_metric])
                )
    return pd.DataFrame(rows).fillna("")


def ablations(evidence: Evidence) -> list[tuple[str, str]]:
    """(description, model) of each ablation, the full model first.

    The ablations of a model X are the models X_no_..., trained anew; X itself with uniform gates at test time; and the
    CNN backbone alone, the Multi-Encoder CNN of the same size.
    """
    full, models = evidence.compare_with, with_own_masks(evidence)
    prefix = f"{full}_no_"
    retrained = [
        (f"no {name.removeprefix(prefix).replace('_', ' ')}", name) for name in models if name.startswith(prefix)
    ]
    uniform = [name for name in models if gates_off(evidence.models[name])]
    same_weights = [
        ("uniform gates, same weights", name) for name in uniform if evidence.models[name]["weights_of"] == full
    ]
    backbone = "_".join([BACKBONE, *(part for part in full.split("_") if part in SIZES)])
    backbone_alone = [("CNN backbone alone", name) for name in models if name == backbone != full]
    return [("full model", full), *retrained, *same_weights, *backbone_alone]


def gates_off(block: Mapping[str, Any]) -> bool:
    """Whether a model is another's weights with uniform gates."""
    return "weights_of" in block and block.get("settings", {}).get("temperature") == 0


def _against_full(values: pd.DataFrame, evidence: Evidence, model: str, metrics: list[str]) -> dict[str, str]:
    cells_by_heading = {}
    for name in metrics:
        of_metric = values[values["metric"] == name]
        unit = of_metric.iloc[0]["unit"]
        heading = f"{cells.heading(name, unit)} minus full"
        if model == evidence.compare_with:
            cells_by_heading[heading] = ""
        else:
            row = paired(of_metric, model, evidence.compare_with, study_seed=evidence.study_seed)
            cells_by_heading[heading] = cells.difference(row["difference"], unit, low=row["low"], high=row["high"])
    return cells_by_heading
