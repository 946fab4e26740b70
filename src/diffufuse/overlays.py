"""What an overlay picture of a case shows: its predictions under every condition, and what they are worth."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffufuse.conditions import apply_condition
from diffufuse.figures.overlay import Row
from diffufuse.metrics import evaluate_case
from diffufuse.prepared import PreparedCase
from diffufuse.volumes import Volume, read_volume


def overlay_rows(
    case: PreparedCase,
    predictions: Sequence[str | os.PathLike[str]],
    *,
    region: str,
    values: Sequence[int],
    conditions: Mapping[str, Mapping[str, Any]],
    modalities: Mapping[str, Mapping[str, Any]],
    dataset: str,
    study_seed: int,
) -> tuple[list[Row], Volume]:
    """The rows of an overlay picture and the reference that they are compared with.

    Args:
        case: the prepared case.
        predictions: folder of predictions for each condition, in the order of `conditions`.
        region: which region is shown.
        values: the label values that it joins.
        conditions: name to its block of `config/conditions.yaml`.
        modalities: name to its block of `config/datasets.yaml`, in channel order.
        dataset: name of the dataset, for the conditions' seeds.
        study_seed: the study's one seed.

    Returns:
        One row per condition, and the reference mask.
    """
    labels = case.slices.labels(slice(None)).transpose(1, 2, 0)
    reference = Volume(np.isin(labels, values), case.affine)
    rows = []
    for (name, block), folder in zip(conditions.items(), predictions, strict=True):
        mask = read_volume(Path(folder) / f"{case.name}_{region}.nii.gz").array > 0
        scan = apply_condition(
            case.scan,
            block,
            modalities=modalities,
            spacing_mm=reference.spacing_mm,
            study_seed=study_seed,
            names=(dataset, case.name, name),
        )
        found = evaluate_case(mask, reference.array, spacing_mm=reference.spacing_mm, metrics=["dice", "hd95"])
        rows.append(Row(condition=name, scan=scan, prediction=mask, dice=found["dice"], hd95_mm=found["hd95"]))
    return rows, reference
