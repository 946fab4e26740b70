"""Sliding-window inference: the probability of each region in every voxel of a prepared case."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor, nn

from diffufuse.plan.outputs import Outputs
from diffufuse.plan.plans import plan_modalities, plan_outputs
from diffufuse.predict.fusing import as_scan, follower_plan, fuse_scan, fuses
from diffufuse.predict.machine import Precision, device_of, mixed
from diffufuse.predict.windows import Voxel, blended, windows_over
from diffufuse.space.volumes import Volume, write_probability, write_volume
from diffufuse.store.case import PreparedCase
from diffufuse.store.normalization import normalized
from diffufuse.store.scan import Scan

SLICES_AT_ONCE = 16
BOXES_AT_ONCE = 2
HALF = 0.5


def predict(
    network: nn.Module,
    scan: Scan,
    *,
    modalities: Mapping[str, Mapping[str, Any]],
    patch: Voxel,
    outputs: Outputs,
    device: torch.device | str = "cpu",
    precision: Precision = "32-true",
    after_normalization: Callable[[Scan], Scan] | None = None,
) -> Float32[np.ndarray, "region x y z"]:
    """Probability of each region in each voxel.

    Windows of the training's patch size overlap by half and their logits are blended with Gaussian weights; a
    slice-wise network receives every slice with its neighbors. Normalization comes after the condition: its statistics
    are those of the images given here.

    Args:
        network: maps images and presence to logits, with `dims` 2 (slice by slice) or 3; in evaluation mode.
        scan: the case in physical units, with its condition applied.
        modalities: name to its block of `config/datasets.yaml`, in channel order.
        patch: size (X, Y, Z) of a window in voxels; for a slice-wise network Z is 1 or an odd number of slices.
        outputs: the meaning of the network's channels.
        device: the device of the network.
        precision: `bf16-mixed` runs the network under bfloat16 autocast; blending and probabilities stay float32.
        after_normalization: transform of the normalized scan before the network, none by default:
            `conditions.apply_condition` with `after="normalization"` and all arguments but the scan bound.

    Returns:
        (R, X, Y, Z) in 0..1; 0 outside of all windows over the body.

    Raises:
        ValueError: the network returns probabilities instead of logits.
    """
    model_input = normalized(scan, modalities=modalities)
    logits, covered = body_logits(
        network,
        after_normalization(model_input) if after_normalization else model_input,
        patch=patch,
        channels=outputs.channels,
        device=device,
        precision=precision,
    )
    outputs.require_logits(logits[:, covered])
    probabilities = outputs.region_probabilities(logits[None])[0].cpu().numpy()
    return np.where(covered.cpu().numpy(), probabilities, np.float32(0))


def body_logits(
    network: nn.Module,
    scan: Scan,
    *,
    patch: Voxel,
    channels: int,
    device: torch.device | str = "cpu",
    precision: Precision = "32-true",
) -> tuple[Float32[Tensor, "channel x y z"], Bool[Tensor, "x y z"]]:
    """Logits of every voxel of the body, blended over all windows that cover it.

    Args:
        network: as for `predict`.
        scan: the case, normalized.
        patch: size (X, Y, Z) of a window in voxels.
        channels: number of logits C per voxel.
        device: the device of the network.
        precision: as for `predict`.

    Returns:
        On the device: the logits, in the body equal to those of all windows, also of the skipped ones; and the mask of
        voxels that a window covers.
    """
    slicewise = network.dims == 2
    windows = windows_over(scan.body, (patch[0], patch[1], 1) if slicewise else patch)
    images, presence = (
        torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in (scan.images, scan.presence)
    )
    with torch.inference_mode(), mixed(device, precision):
        return blended(
            network,
            images,
            presence,
            windows,
            channels=channels,
            halo=patch[2] // 2 if slicewise else 0,
            at_once=SLICES_AT_ONCE if slicewise else BOXES_AT_ONCE,
        )


def predict_case(
    network: nn.Module,
    scan: Scan,
    plan: Mapping[str, Any],
    *,
    after_normalization: Callable[[Scan], Scan] | None = None,
) -> dict[str, np.ndarray]:
    """Probability of every region of a plan, (X, Y, Z) float32; its mask has one half or more.

    A network that fuses predicts from its fused image. `after_normalization` as for `predict`.
    """
    if fuses(network):
        image, present = fuse_scan(network, scan, plan, after_normalization=after_normalization)
        follower: Any = network.follower
        return predict_case(follower, as_scan(image, present, scan.body), follower_plan(plan))
    outputs = plan_outputs(plan)
    x, y, z = plan["block"]["training"]["patch"]
    probabilities = predict(
        network,
        scan,
        modalities=plan_modalities(plan),
        patch=(x, y, z),
        outputs=outputs,
        device=device_of(network),
        after_normalization=after_normalization,
    )
    return dict(zip(outputs.regions, probabilities, strict=True))


def write_prediction(probabilities: Mapping[str, np.ndarray], case: PreparedCase, folder: Path) -> None:
    """Write `{case}_{region}.nii.gz`, a mask, and `{case}_{region}_probability.nii.gz` per region, on the case's grid.

    Probabilities are stored in steps of 1/65535; the mask is p >= 0.5, before and after rounding.
    """
    for region, probability in probabilities.items():
        write_volume(Volume(probability >= HALF, case.affine), folder / f"{case.name}_{region}.nii.gz")
        write_probability(Volume(probability, case.affine), folder / f"{case.name}_{region}_probability.nii.gz")
