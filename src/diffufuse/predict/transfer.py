"""A case of another dataset as a model met those of its own, and the model's answer on that case's own grid."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from diffufuse.errors import BadInput
from diffufuse.space.resampling import common_grid, resample
from diffufuse.space.volumes import Volume
from diffufuse.store.scan import Scan
from diffufuse.study.transfer import shared_modalities
from diffufuse.types import Mask

# Of the weight that makes a resampled value, this share was acquired: what lies around it is zero, and no measurement.
WHOLE = 0.999
HALF = 0.5


def in_trained_space(
    scan: Scan,
    own_grid: Volume,
    *,
    case: str,
    tested: Mapping[str, Mapping[str, Any]],
    trained: Mapping[str, Mapping[str, Any]],
    spacing_mm: tuple[float, float, float],
) -> tuple[Scan, Volume]:
    """A case of another dataset in the modalities, their order and the spacing that a model was trained on.

    The axes stay, so that a slice is still axial. Images are interpolated linearly, and smoothed first where the new
    voxels are much larger. What the case does not have is absent, by the mask. Nothing is normalized.

    Args:
        scan: a prepared case in physical units, after its condition was applied.
        own_grid: the case's grid; values do not count.
        case: name of the case, for the sentence.
        tested: name to block of the scan's images, in their order; `kind` and `like` are read.
        trained: name to block of the model's images, in its channel order; `kind` is read.
        spacing_mm: of the grid that the model was trained on.

    Returns:
        The scan: a voxel is present if all that makes its value was acquired, and of the body if half of it is; and the
        grid on which it lies, for the way back.

    Raises:
        BadInput: the case has nothing that the model could look at.
    """
    grid = common_grid(own_grid, spacing_mm=spacing_mm)
    images = np.zeros((len(trained), *grid.shape), np.float32)
    presence = np.zeros(images.shape, bool)
    shared = shared_modalities(trained, tested)
    for channel, name in enumerate(trained):
        if name in shared:
            source = list(tested).index(shared[name])
            images[channel], presence[channel] = _resampled(scan.images[source], scan.presence[source], own_grid, grid)
    if not presence.any():
        wanted = f"of {', '.join(shared.values())}" if shared else "that the model knows"
        raise BadInput(f"{case}: expected an image {wanted} for the model, got none; exclude the case.")
    body, _ = resample(own_grid.with_array(scan.body), grid)
    return Scan(images, presence, body >= HALF), grid


def _resampled(image: np.ndarray, present: Mask, own_grid: Volume, grid: Volume) -> tuple[np.ndarray, Mask]:
    values, inside = resample(own_grid.with_array(image), grid)
    acquired, _ = resample(own_grid.with_array(present), grid)
    whole = inside & (acquired >= WHOLE)
    return np.where(whole, values, 0), whole


def on_own_grid(probability: np.ndarray, grid: Volume, own_grid: Volume) -> np.ndarray:
    """A model's probability on the case's own grid, where its untouched reference lies.

    Args:
        probability: (X, Y, Z) in 0..1 on the grid of `in_trained_space`.
        grid: that grid.
        own_grid: the case's own grid; values do not count.

    Returns:
        Interpolated linearly, float32 in 0..1, shaped like `own_grid`; exactly what it was where both
        grids are the same.
    """
    values, _ = resample(grid.with_array(probability), own_grid)
    return np.clip(values, 0, 1)
