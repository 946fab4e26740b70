"""Resample a case of another dataset to a model's training space, and the prediction back to the case's grid."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from diffufuse.errors import BadInput
from diffufuse.space.resampling import common_grid, resample
from diffufuse.space.volumes import Volume
from diffufuse.store.scan import Scan
from diffufuse.study.transfer import shared_modalities
from diffufuse.types import Mask

# Least share of the interpolation weight of a resampled value that comes from acquired voxels.
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
    """A case of another dataset in the modalities, channel order and spacing of a model's training.

    The axes stay, so a slice is still axial. Images are interpolated linearly, and smoothed first where the new voxels
    are much larger. Missing modalities are absent by the presence mask. Nothing is normalized.

    Args:
        scan: a prepared case in physical units, with its condition applied.
        own_grid: the case's grid; its values are not used.
        case: name of the case, for the error message.
        tested: name to block of the scan's images, in their order; `kind` and `like` are read.
        trained: name to block of the model's images, in its channel order; `kind` is read.
        spacing_mm: of the model's training grid.

    Returns:
        The scan, and its grid. A voxel is present if all voxels that its value is interpolated from were acquired, and
        belongs to the body if half of it does.

    Raises:
        BadInput: the case has none of the modalities of the model, or its body is lost on the model's grid.
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
        required = f"of {', '.join(shared.values())}" if shared else "that the model knows"
        raise BadInput(f"{case}: expected an image {required} for the model, got none; exclude the case.")
    body, _ = resample(own_grid.with_array(scan.body), grid)
    if scan.body.any() and not (body >= HALF).any():
        raise BadInput(
            f"{case}: expected a body of some voxels at the model's spacing of {spacing_mm} mm, but resampling left "
            "none; exclude the case."
        )
    return Scan(images, presence, body >= HALF), grid


def _resampled(image: np.ndarray, present: Mask, own_grid: Volume, grid: Volume) -> tuple[np.ndarray, Mask]:
    values, inside = resample(own_grid.with_array(image), grid)
    acquired, _ = resample(own_grid.with_array(present), grid)
    valid = inside & (acquired >= WHOLE)
    return np.where(valid, values, 0), valid


def on_own_grid(probability: np.ndarray, grid: Volume, own_grid: Volume) -> np.ndarray:
    """A model's probability resampled to the case's own grid, that of its reference.

    Args:
        probability: (X, Y, Z) in 0..1 on the grid of `in_trained_space`.
        grid: that grid.
        own_grid: the case's own grid; its values are not used.

    Returns:
        Interpolated linearly, float32 in 0..1, shaped like `own_grid`; unchanged if both grids are the same.
    """
    values, _ = resample(grid.with_array(probability), own_grid)
    return np.clip(values, 0, 1)
