"""Labels before and after resampling: their volumes, and the parts of which no voxel is left."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, find_objects, label

from diffufuse.space.volumes import Volume
from diffufuse.types import Mask

NEIGHBORS = np.ones((3, 3, 3), bool)
# Resampling to 2 to 4 mm changes the volume of tumors of 17 to 2,000 ml by less than 2 %.
TELLING_CHANGE = 0.2
TELLING_SHARE_OUTSIDE = 0.1


def label_record(before: Volume, after: Volume, body: Mask) -> dict[str, dict[str, Any]]:
    """Compare the labels of a case before and after resampling.

    Args:
        before: labels as they were ingested.
        after: the same on the common grid, in the same frame.
        body: boolean, shaped like `after`.

    Returns:
        JSON record. `labels_ml`: label to the volume `drawn` and `resampled`, ml. `label_parts`: label to the number of
        connected parts `drawn`, and of those `lost`, without a voxel on the common grid. `labels_outside`: label to
        the share of its resampled voxels outside the body, 0..1.
    """
    drawn_values = [int(value) for value in np.unique(before.array) if value]
    return {
        "labels_ml": {
            str(value): {"drawn": _of_label(before, value), "resampled": _of_label(after, value)}
            for value in drawn_values
        },
        "label_parts": {str(value): _parts(before, after, value) for value in drawn_values},
        "labels_outside": {str(value): _outside(after.array == value, body) for value in drawn_values},
    }


def label_notes(record: Mapping[str, Any]) -> list[str]:
    """What is to be said of a case's labels, one sentence each; empty if resampling left them as they were.

    Args:
        record: of a prepared case, with the keys of `label_record` and `spacing_mm`.
    """
    grid = " x ".join(f"{mm:.3g}" for mm in record["spacing_mm"])
    notes = []
    for name, volume in record["labels_ml"].items():
        drawn, resampled = volume["drawn"], volume["resampled"]
        parts, outside = record["label_parts"][name], record["labels_outside"][name]
        if not resampled:
            notes.append(
                f"label {name}: all {drawn:.3g} ml of it are lost in resampling to voxels of {grid} mm; regions that "
                "consist of it are neither scored nor trained on in this case"
            )
            continue
        if parts["lost"]:
            notes.append(f"label {name}: {parts['lost']} of its {parts['drawn']} parts are lost at voxels of {grid} mm")
        if abs(resampled - drawn) > TELLING_CHANGE * drawn:
            notes.append(f"label {name}: {drawn:.3g} ml became {resampled:.3g} ml at voxels of {grid} mm")
        if outside > TELLING_SHARE_OUTSIDE:
            notes.append(f"label {name}: {outside:.0%} of it lie outside the body, where a model need not predict")
    return notes


def _of_label(labels: Volume, value: int) -> float:
    return labels.milliliters(np.count_nonzero(labels.array == value))


def _outside(mask: Mask, body: Mask) -> float:
    voxels = np.count_nonzero(mask)
    return float(np.count_nonzero(mask & ~body) / voxels) if voxels else 0.0


def _parts(before: Volume, after: Volume, value: int) -> dict[str, float]:
    """Return the number of connected parts of a label, and of those farther than a voxel from its resampled voxels."""
    mask, kept = before.array == value, after.array == value
    (box,) = find_objects(mask.astype(np.uint8))
    parts, count = label(mask[box], NEIGHBORS)
    if not kept.any():
        return {"drawn": count, "lost": count}
    if count == 1:
        return {"drawn": 1, "lost": 0}
    voxels = np.nonzero(parts)
    index = np.stack([axis + side.start for axis, side in zip(voxels, box, strict=True)])
    beside_kept = _at(binary_dilation(kept, NEIGHBORS), _positions(index, before, after))
    return {"drawn": count, "lost": count - np.unique(parts[voxels][beside_kept]).size}


def _positions(index: np.ndarray, before: Volume, after: Volume) -> np.ndarray:
    """Return the voxels (3, N) of the common grid at voxels (3, N) of the labels as ingested."""
    points_mm = before.affine[:3, :3] @ index + before.affine[:3, 3:]
    inverse = np.linalg.inv(after.affine)
    return np.rint(inverse[:3, :3] @ points_mm + inverse[:3, 3:]).astype(int)


def _at(mask: Mask, index: np.ndarray) -> Mask:
    """Return the values of a mask at voxels (3, N); False outside of it."""
    shape = np.array(mask.shape)[:, None]
    inside = ((index >= 0) & (index < shape)).all(axis=0)
    return np.asarray(mask[tuple(np.clip(index, 0, shape - 1))] & inside)
