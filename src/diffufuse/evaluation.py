"""Compare the predictions of a fold with their references, per case and in 3-D."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diffufuse.errors import BadInput
from diffufuse.metrics import METRICS, evaluate_case, reads_probability
from diffufuse.volumes import Volume, read_volume, same_grid


def evaluate_folder(
    predictions: str | Path,
    references: Mapping[str, str | Path],
    *,
    regions: Mapping[str, list[int]],
    metrics: Sequence[str],
    names: Mapping[str, Any],
    bodies: Mapping[str, str | Path] | None = None,
) -> pd.DataFrame:
    """Every metric of every region of every case.

    Args:
        predictions: folder with `{case}_{region}.nii.gz` and, for metrics that read it,
            `{case}_{region}_probability.nii.gz`.
        references: case to its labels.
        regions: region to the label values that it joins.
        metrics: names in `metrics.METRICS`.
        names: dataset, condition, trained_on, model, fold, seed of the predictions.
        bodies: case to its body, to which metrics of probabilities are confined; by default they are not.

    Returns:
        Columns of `tables.METRICS`; an undefined value is NaN.

    Raises:
        BadInput: a prediction or body does not lie on its reference's grid, or a probability is missing.
    """
    rows = []
    probable = reads_probability(metrics)
    for case, path in references.items():
        labels = read_volume(path)
        body = _on_grid(bodies[case], labels, case).array > 0 if probable and bodies else None
        for region, values in regions.items():
            stem = f"{case}_{region}"
            found = evaluate_case(
                _on_grid(Path(predictions) / f"{stem}.nii.gz", labels, case).array > 0,
                np.isin(labels.array, values),
                spacing_mm=labels.spacing_mm,
                metrics=metrics,
                probability=_on_grid(Path(predictions) / f"{stem}_probability.nii.gz", labels, case).array
                if probable
                else None,
                body=body,
            )
            rows += [
                {**names, "case": case, "region": region, "metric": name, "value": value, "unit": METRICS[name].unit}
                for name, value in found.items()
            ]
    return pd.DataFrame(rows).astype({"fold": "int8", "seed": "int16"})


def _on_grid(path: str | Path, labels: Volume, case: str) -> Volume:
    volume = read_volume(path)
    if not same_grid(volume, labels):
        raise BadInput(f"{path}, case {case}: expected the grid of the case's reference; predict it again.")
    return volume
