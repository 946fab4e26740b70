"""Sliding windows over the body: their positions, and Gaussian blending of their outputs.

Positions and weights are those of MONAI's `sliding_window_inference` with overlap 0.5 and Gaussian blending, laid over
the body's bounding box. Windows without a voxel of the body are skipped, which changes nothing within the body:
every body voxel is blended from all windows that cover it.

Source:
    Cardoso et al. 2022, MONAI, arXiv:2211.02701; Gaussian weights as in nnU-Net, doi:10.1038/s41592-020-01008-z.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from diffufuse.types import Mask

OVERLAP = 0.5
SIGMA = 0.125  # of a window's length
LEAST_WEIGHT = 1e-3

Voxel = tuple[int, int, int]
Network = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Windows:
    """The sliding windows over a volume.

    Attributes:
        size: (X, Y, Z) voxels of a window.
        padding: empty voxels before and after the volume along X, Y, Z, where it is smaller than a window.
        starts: lowest voxel of every window, in the padded volume.
    """

    size: Voxel
    padding: tuple[tuple[int, int], ...]
    starts: Sequence[Voxel]


def starts_along(extent: int, length: int) -> list[int]:
    """First voxels of the windows along an axis: steps of half a window, the last window ends with the axis.

    Args:
        extent: length of the axis in voxels.
        length: of a window; one window if it is at least as long as the axis.
    """
    last = max(extent - length, 0)
    return [*range(0, last, max(1, int(length * (1 - OVERLAP)))), last]


def windows_over(body: Mask, size: Voxel) -> Windows:
    """The windows over the body's bounding box that hold a voxel of the body.

    Where the box is smaller than a window it is widened within the volume; a volume smaller than a window is padded.

    Args:
        body: (X, Y, Z) boolean; no window if it is empty.
        size: (X, Y, Z) of a window in voxels.
    """
    missing = [max(length - extent, 0) for length, extent in zip(size, body.shape, strict=True)]
    padding = tuple((short // 2, short - short // 2) for short in missing)
    inside = np.pad(body, padding)
    if not inside.any():
        return Windows(size, padding, [])
    boxes = [_box_along(inside, axis, length) for axis, length in enumerate(size)]
    starts = (
        [low + start for start in starts_along(high - low, n)] for (low, high), n in zip(boxes, size, strict=True)
    )
    return Windows(size, padding, [(x, y, z) for x, y, z in product(*starts) if inside[_part((x, y, z), size)].any()])


def importance(size: Sequence[int]) -> Float[Tensor, "..."]:
    """Gaussian weight of each voxel of a window: exp(-d² / (2 s²)) along every axis, at least 0.001.

    d is the distance to the window's center and s one eighth of its length.

    Args:
        size: of the window in voxels.
    """
    weight = torch.ones([1] * len(size))
    for axis, length in enumerate(size):
        distance = torch.arange(length) - (length - 1) / 2
        along = torch.exp(-(distance**2) / (2 * (SIGMA * length) ** 2))
        weight = weight * along.reshape([-1 if other == axis else 1 for other in range(len(size))])
    return weight.clamp(min=LEAST_WEIGHT)


def blended(
    network: Network,
    images: Float[Tensor, "modality x y z"],
    presence: Bool[Tensor, "modality x y z"],
    windows: Windows,
    *,
    channels: int,
    halo: int,
    at_once: int,
) -> tuple[Float[Tensor, "channel x y z"], Bool[Tensor, "x y z"]]:
    """The weighted mean of the outputs of all windows: sum(w a) / sum(w).

    Args:
        network: maps images and presence (B, M, X, Y, Z + 2 halo) to outputs (B, C, X, Y, Z).
        images: the whole volume.
        presence: where each image was acquired.
        windows: from `windows_over`, for this volume.
        channels: number of outputs C per voxel.
        halo: further slices at both ends of a window; those outside the volume are absent.
        at_once: number of windows B per batch.

    Returns:
        The outputs, float32 on the device of the images, and the mask of covered voxels (X, Y, Z).
    """
    around = _torch_padding(windows.padding, halo)
    images, presence = functional.pad(images, around), functional.pad(presence, around)
    weight = importance(windows.size).to(images.device)
    shape = (*images.shape[1:3], images.shape[3] - 2 * halo)
    weighted_sum, weight_sum = images.new_zeros((channels, *shape)), images.new_zeros(shape)
    for first in range(0, len(windows.starts), at_once):
        starts = windows.starts[first : first + at_once]
        image_windows, presence_windows = (
            torch.stack([part[(slice(None), *_part(start, windows.size, halo=halo))] for start in starts])
            for part in (images, presence)
        )
        for start, logits in zip(starts, network(image_windows, presence_windows).float(), strict=True):
            voxels = _part(start, windows.size)
            weighted_sum[(slice(None), *voxels)] += logits * weight
            weight_sum[voxels] += weight
    unpadded = tuple(slice(low, n - high) for (low, high), n in zip(windows.padding, shape, strict=True))
    return (weighted_sum / weight_sum.clamp(min=LEAST_WEIGHT))[(slice(None), *unpadded)], weight_sum[unpadded] > 0


def _box_along(inside: Mask, axis: int, length: int) -> tuple[int, int]:
    """Extent of the mask along an axis, widened to at least a window's length."""
    others = tuple(other for other in range(inside.ndim) if other != axis)
    low, high = (int(index) for index in np.flatnonzero(inside.any(axis=others))[[0, -1]])
    spare = max(length - (high + 1 - low), 0)
    low = min(max(low - math.ceil(spare / 2), 0), inside.shape[axis] - length) if spare else low
    return low, max(high + 1, low + length)


def _part(start: Voxel, size: Voxel, *, halo: int = 0) -> tuple[slice, slice, slice]:
    x, y, z = (slice(first, first + length) for first, length in zip(start, size, strict=True))
    return x, y, slice(z.start, z.stop + 2 * halo)


def _torch_padding(padding: Sequence[tuple[int, int]], halo: int) -> list[int]:
    """Padding in the order of torch, from the last axis to the first."""
    x, y, (below, above) = padding
    return [below + halo, above + halo, *y, *x]
