"""Fuse a scan: one image of gray levels from two, whole slice by whole slice.

A fuser sees a slice as a whole, without windows, as its image is looked at as a whole: blended windows would have seams
of contrast.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor, nn
from torch.nn import functional

from diffufuse.models.layers.noise import SeededNoise
from diffufuse.plan.outputs import Outputs
from diffufuse.plan.plans import plan_modalities, plan_outputs
from diffufuse.predict.machine import Precision, device_of, mixed
from diffufuse.seeds import seed_of
from diffufuse.store.normalization import normalized
from diffufuse.store.scan import Scan
from diffufuse.study.inputs import FUSED, FUSED_BLOCK
from diffufuse.types import Mask

# Whole slices are several times as large as a training's patches.
WHOLE_SLICES_AT_ONCE = 4
IMAGE = Outputs("image", {})


def fuses(network: nn.Module) -> bool:
    """Whether a network has a fused image on its way to masks, which its part `follower` predicts from that image."""
    return hasattr(network, "fuse")


def only_fuses(plan: Mapping[str, Any]) -> bool:
    """Whether the network of a plan answers with a fused image, and with no masks."""
    return plan_outputs(plan).kind == IMAGE.kind


def follower_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of the part of a network that predicts masks from its fused image."""
    return {**plan, "modalities": [{"name": FUSED, **FUSED_BLOCK}]}


def fuse_scan(
    network: nn.Module,
    scan: Scan,
    plan: Mapping[str, Any],
    *,
    precision: Precision = "32-true",
    after_normalization: Callable[[Scan], Scan] | None = None,
    seed: int = 0,
) -> tuple[Float32[np.ndarray, "x y z"], Mask]:
    """The fused image of a scan, and where it is.

    Every axial slice that holds body is fused as a whole, padded to the network's `stride` with voxels that are absent.

    Args:
        network: a fuser, or a network with `fuse`: maps images in 0..1 and presence, (B, M, X, Y, 1), to gray levels in
            0..1, (B, 1, X, Y, 1); in evaluation mode.
        scan: the case in physical units, with its condition applied.
        plan: of the network; `modalities` are the images of the scan, in its order.
        precision: as for `predict`.
        after_normalization: transform of the normalized scan, as for `predict`; what it moves out of 0..1 is clipped.
        seed: of the noise of a network that draws some (`is_random`); each slice has its own, whatever the batch.

    Returns:
        Gray levels in 0..1, 0 where no source is present and in slices without body; and where they were made of any
        source.

    Raises:
        ValueError: the network's values are not gray levels in 0..1, or of another shape.
    """
    model_input = normalized(scan, modalities=plan_modalities(plan))
    if after_normalization:
        model_input = after_normalization(model_input)
    fuse: Any = network.fuse if fuses(network) else network
    device, stride = device_of(network), getattr(network, "stride", (1, 1, 1))
    with_body = model_input.body.any(axis=(0, 1))
    present = np.logical_and(model_input.presence.any(axis=0), with_body)
    image = np.zeros(present.shape, np.float32)
    chosen = np.flatnonzero(with_body)
    for first in range(0, len(chosen), WHOLE_SLICES_AT_ONCE):
        some = chosen[first : first + WHOLE_SLICES_AT_ONCE]
        sources, presence = (
            torch.from_numpy(np.ascontiguousarray(np.moveaxis(part[..., some], -1, 0)[..., None])).to(device)
            for part in (model_input.images, model_input.presence)
        )
        seen = partial(fuse, noise=_noise(seed, some)) if getattr(network, "is_random", False) else fuse
        with torch.inference_mode(), mixed(device, precision):
            fused = _fused(seen, sources.clamp(0, 1), presence, stride=stride)
        image[..., some] = np.moveaxis(fused.cpu().numpy(), 0, -1)
    return np.where(present, image, np.float32(0)), present


def _noise(seed: int, slices: Iterable[int]) -> SeededNoise:
    return SeededNoise([seed_of(seed, "slice", int(z)) for z in slices])


def _fused(
    fuse: Callable[[Tensor, Tensor], Tensor],
    images: Float32[Tensor, "slice modality x y 1"],
    presence: Bool[Tensor, "slice modality x y 1"],
    *,
    stride: tuple[int, int, int],
) -> Float32[Tensor, "slice x y"]:
    """Fuse slices of any size."""
    x, y = images.shape[2:4]
    missing_x, missing_y = -x % stride[0], -y % stride[1]
    around = [0, 0, missing_y // 2, missing_y - missing_y // 2, missing_x // 2, missing_x - missing_x // 2]
    padded, padded_presence = functional.pad(images, around), functional.pad(presence, around)
    answer = fuse(padded, padded_presence).float()
    expected = (len(images), 1, *padded.shape[2:])
    if answer.shape != expected:
        raise ValueError(f"image: expected a fused image of the shape {expected}, got {tuple(answer.shape)}")
    IMAGE.require_logits(answer.flatten(1))
    return answer[:, 0, missing_x // 2 : missing_x // 2 + x, missing_y // 2 : missing_y // 2 + y, 0]


def as_scan(image: Float32[np.ndarray, "x y z"], present: Mask, body: Mask) -> Scan:
    """A fused image as the scan that a segmenter reads."""
    return Scan(image[None], present[None], body)
