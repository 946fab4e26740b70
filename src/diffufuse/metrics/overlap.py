"""Overlap and volume metrics of two masks, computed from voxel counts."""

import math

import numpy as np

from diffufuse.metrics.confusion import confusion
from diffufuse.types import Mask, Spacing

MM3_PER_ML = 1000.0
# Evaluated always, so that every table can say how many cases were missed, spurious, empty or lost.
COUNTED = ("missed", "spurious", "both_empty", "lost")


def dice(prediction: Mask, reference: Mask) -> float:
    """Twice the shared volume over the sum of both volumes: 2 TP / (2 TP + FP + FN).

    Returns:
        0..1; 1 if both masks are empty, 0 if one is.

    Source:
        Dice 1945, Ecology 26:297; policy for empty masks after Reinke et al. 2024, arXiv:2302.01790.
    """
    return confusion(prediction, reference).dice


def iou(prediction: Mask, reference: Mask) -> float:
    """Shared volume over the volume of the union: TP / (TP + FP + FN) = Dice / (2 - Dice).

    Returns:
        0..1; 1 if both masks are empty, 0 if one is.

    Source:
        Jaccard 1901; policy for empty masks as for `dice`.
    """
    shared, extra, lacking = confusion(prediction, reference)
    return _ratio(shared, shared + extra + lacking, undefined=1.0)


def precision(prediction: Mask, reference: Mask) -> float:
    """Share of the predicted volume that is right: TP / (TP + FP).

    Returns:
        0..1; NaN if nothing is predicted.

    Source:
        Maier-Hein et al. 2024, Metrics Reloaded, arXiv:2206.01653.
    """
    shared, extra, _ = confusion(prediction, reference)
    return _ratio(shared, shared + extra, undefined=math.nan)


def recall(prediction: Mask, reference: Mask) -> float:
    """Share of the reference volume that is predicted: TP / (TP + FN).

    Returns:
        0..1; NaN if the reference is empty.

    Source:
        Maier-Hein et al. 2024, Metrics Reloaded, arXiv:2206.01653.
    """
    shared, _, lacking = confusion(prediction, reference)
    return _ratio(shared, shared + lacking, undefined=math.nan)


def missed(prediction: Mask, reference: Mask) -> float:
    """1 if there is a reference and nothing is predicted, otherwise 0."""
    return float(reference.any() and not prediction.any())


def spurious(prediction: Mask, reference: Mask) -> float:
    """1 if something is predicted where the reference is empty, otherwise 0."""
    return float(prediction.any() and not reference.any())


def both_empty(prediction: Mask, reference: Mask) -> float:
    """1 if there is neither a reference nor a prediction, otherwise 0."""
    return float(not prediction.any() and not reference.any())


def lost(prediction: Mask, reference: Mask, *, drawn: bool) -> float:
    """1 if the region was drawn and resampling left no voxel of it, otherwise 0.

    Args:
        prediction: not read.
        reference: on the common grid.
        drawn: whether the region had voxels before resampling.
    """
    return float(drawn and not reference.any())


def prediction_volume_ml(prediction: Mask, reference: Mask, *, spacing_mm: Spacing) -> float:
    """Volume of the predicted voxels, mL."""
    return float(np.count_nonzero(prediction) * math.prod(spacing_mm) / MM3_PER_ML)


def reference_volume_ml(prediction: Mask, reference: Mask, *, spacing_mm: Spacing) -> float:
    """Volume of the reference voxels, mL."""
    return float(np.count_nonzero(reference) * math.prod(spacing_mm) / MM3_PER_ML)


def volume_error_ml(prediction: Mask, reference: Mask, *, spacing_mm: Spacing) -> float:
    """Absolute difference between predicted and reference volume, mL."""
    predicted_voxels, reference_voxels = np.count_nonzero(prediction), np.count_nonzero(reference)
    return float(abs(predicted_voxels - reference_voxels) * math.prod(spacing_mm) / MM3_PER_ML)


def relative_volume_error(prediction: Mask, reference: Mask) -> float:
    """Absolute volume difference relative to the reference volume: |P - R| / R.

    Returns:
        At least 0; 1 if nothing is predicted; NaN if the reference is empty.

    Source:
        Maier-Hein et al. 2024, Metrics Reloaded, arXiv:2206.01653.
    """
    predicted_voxels, reference_voxels = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    return _ratio(abs(predicted_voxels - reference_voxels), reference_voxels, undefined=math.nan)


def _ratio(part: int, whole: int, *, undefined: float) -> float:
    return part / whole if whole else undefined
