"""Compare the predictions of a fold with their references, per case and in 3-D."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diffufuse.errors import BadInput
from diffufuse.metrics import METRICS, evaluate_case
from diffufuse.volumes import read_volume, same_grid


def evaluate_folder(
    predictions: str | Path,
    references: Mapping[str, str | Path],
    *,
    regions: Mapping[str, list[int]],
    metrics: Sequence[str],
    names: Mapping[str, Any],
) -> pd.DataFrame:
    """Every metric of every region of every case.

    Args:
        predictions: folder with `{case}_{region}.nii.gz`.
        references: case to its labels.
        regions: region to the label values that it joins.
        metrics: names in `metrics.METRICS`.
        names: dataset, condition, trained_on, model, fold, seed of the predictions.

    Returns:
        Columns of `tables.METRICS`; an undefined value is NaN.

    Raises:
        BadInput: a prediction does not lie on its reference's grid.
    """
    rows = []
    for case, path in references.items():
        labels = read_volume(path)
        for region, values in regions.items():
            prediction = read_volume(Path(predictions) / f"{case}_{region}.nii.gz")
            if not same_grid(prediction, labels):
                raise BadInput(
                    f"{predictions}, case {case}: expected the prediction on the grid of {path}; predict it again."
                )
            found = evaluate_case(
                prediction.array > 0, np.isin(labels.array, values), spacing_mm=labels.spacing_mm, metrics=metrics
            )
            rows += [
                {**names, "case": case, "region": region, "metric": name, "value": value, "unit": METRICS[name].unit}
                for name, value in found.items()
            ]
    return pd.DataFrame(rows).astype({"fold": "int8", "seed": "int16"})
