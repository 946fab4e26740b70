"""What pictures of test cases show: a case under every condition, where it is in doubt, the best and the worst."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffufuse.conditions.apply import apply_condition
from diffufuse.metrics import evaluate
from diffufuse.metrics.calibration import entropy_bits
from diffufuse.metrics.comparison import Comparison
from diffufuse.report.pictures.extremes import Ranked
from diffufuse.report.pictures.overlay import Row
from diffufuse.space.volumes import Volume, read_volume, write_volume
from diffufuse.store.case import PreparedCase
from diffufuse.store.scan import Scan
from diffufuse.types import Image, Mask

SHOWN = ("dice", "hd95")


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
    reference = reference_of(case, values)
    rows = []
    for (name, block), folder in zip(conditions.items(), predictions, strict=True):
        scan = apply_condition(
            case.scan,
            block,
            modalities=modalities,
            spacing_mm=case.spacing_mm,
            study_seed=study_seed,
            names=(dataset, case.name, name),
        )
        rows.append(_row(name, scan, case, folder, region=region, reference=reference))
    return rows, Volume(reference, case.affine)


def ranked_rows(
    cases: Mapping[str, PreparedCase],
    ranks: Mapping[str, str],
    predictions: Mapping[str, str | os.PathLike[str]],
    *,
    region: str,
    values: Sequence[int],
) -> list[Ranked]:
    """The rows of a picture of the best, the median and the worst case, as they were acquired.

    Args:
        cases: name → prepared case.
        ranks: from `extremes.ranked_cases`.
        predictions: case → folder that holds its prediction.
        region: which region is shown.
        values: the label values that it joins.
    """
    shown = []
    for rank, name in ranks.items():
        case = cases[name]
        reference = reference_of(case, values)
        row = _row(f"{rank}: {name}", case.scan, case, predictions[name], region=region, reference=reference)
        shown.append(Ranked(row, reference, case.spacing_mm))
    return shown


def reference_of(case: PreparedCase, values: Sequence[int]) -> Mask:
    """The voxels of a case that have one of the label values, (X, Y, Z)."""
    return np.isin(case.slices.labels(slice(None)).transpose(1, 2, 0), values)


def map_doubt(
    case: PreparedCase, predictions: str | os.PathLike[str], path: str | os.PathLike[str], *, region: str
) -> tuple[Image, Image]:
    """Write the uncertainty of a case as NIfTI: the entropy of its probability in every voxel, 0..1 bit.

    Args:
        case: the prepared case.
        predictions: folder of its prediction.
        path: where to write, `.nii.gz`.
        region: which region.

    Returns:
        The probability and its entropy, (X, Y, Z) float32.
    """
    probability = read_volume(Path(predictions) / f"{case.name}_{region}_probability.nii.gz")
    doubt_bits = entropy_bits(probability.array).astype(np.float32)
    write_volume(probability.with_array(doubt_bits), path)
    return probability.array, doubt_bits


def _row(
    title: str,
    scan: Scan,
    case: PreparedCase,
    predictions: str | os.PathLike[str],
    *,
    region: str,
    reference: Mask,
) -> Row:
    mask = read_volume(Path(predictions) / f"{case.name}_{region}.nii.gz").array > 0
    found = evaluate(Comparison(mask, reference, case.spacing_mm), SHOWN)
    return Row(title, scan, mask, dice=found["dice"], hd95_mm=found["hd95"])
