"""From a trained model and a prepared case to a probability in every voxel."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor, nn

from diffufuse.plan.outputs import Outputs
from diffufuse.plan.plans import plan_modalities, plan_outputs
from diffufuse.predict.windows import Voxel, blended, windows_over
from diffufuse.space.volumes import Volume, write_probability, write_volume
from diffufuse.store.case import PreparedCase
from diffufuse.store.normalization import intensity_statistics, normalize_all
from diffufuse.store.scan import Scan

SLICES_AT_ONCE = 16
BOXES_AT_ONCE = 2
HALF = 0.5

Precision = Literal["32-true", "bf16-mixed"]


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

    Windows of the training's patch size overlap by half and their logits are blended with Gaussian weights; a network
    that works slice by slice sees every slice with its neighbors. Normalization follows the condition: its statistics
    are those of the images as they are given here.

    Args:
        network: maps images and presence to logits, with `dims` 2 (slice by slice) or 3; in evaluation mode.
        scan: the case, in physical units, after its condition was applied.
        modalities: name to its block of `config/datasets.yaml`, in channel order.
        patch: size (X, Y, Z) of a window in voxels; for a slice-wise network Z is 1 or an odd number of slices.
        outputs: what the network's channels mean.
        device: where the network is.
        precision: `bf16-mixed` lets the network calculate in bfloat16; blending and probabilities stay float32.
        after_normalization: what becomes of the normalized scan before the network sees it, nothing by default:
            `conditions.apply_condition` with `after="normalization"` and all else but the scan given.

    Returns:
        (R, X, Y, Z) in 0..1; 0 where no window with a voxel of the body lies, for nothing is looked for there.

    Raises:
        ValueError: the network gives probabilities in the place of logits.
    """
    seen = normalized(scan, modalities=modalities)
    logits, looked = body_logits(
        network,
        after_normalization(seen) if after_normalization else seen,
        patch=patch,
        channels=outputs.channels,
        device=device,
        precision=precision,
    )
    outputs.require_logits(logits[:, looked])
    probabilities = outputs.region_probabilities(logits[None])[0].cpu().numpy()
    return np.where(looked.cpu().numpy(), probabilities, np.float32(0))


def normalized(scan: Scan, *, modalities: Mapping[str, Mapping[str, Any]]) -> Scan:
    """The scan as a network reads it; z-scores are by its own mean and standard deviation in the body.

    Args:
        scan: in physical units.
        modalities: name to its block of `config/datasets.yaml`, in channel order; `normalization` is read.
    """
    statistics = {
        name: intensity_statistics(image, scan.body & present)
        for name, image, present in zip(modalities, scan.images, scan.presence, strict=True)
    }
    images = normalize_all(scan.images, scan.presence, modalities=modalities, statistics=statistics)
    return Scan(images, scan.presence, scan.body)


def body_logits(
    network: nn.Module,
    scan: Scan,
    *,
    patch: Voxel,
    channels: int,
    device: torch.device | str = "cpu",
    precision: Precision = "32-true",
) -> tuple[Float32[Tensor, "channel x y z"], Bool[Tensor, "x y z"]]:
    """What a network says of every voxel of the body, blended from all windows that cover it.

    Args:
        network: as for `predict`.
        scan: the case, normalized.
        patch: size (X, Y, Z) of a window in voxels.
        channels: number of logits C per voxel.
        device: where the network is.
        precision: as for `predict`.

    Returns:
        On the device: the logits, in the body exactly what all windows would give, whichever are left out; and where a
        window was looked at.
    """
    slicewise = network.dims == 2
    windows = windows_over(scan.body, (patch[0], patch[1], 1) if slicewise else patch)
    images, presence = (
        torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in (scan.images, scan.presence)
    )
    lowered = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16-mixed")
    with torch.inference_mode(), lowered:
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
    """Probability of every region of a plan, (X, Y, Z) float32; its mask is where that is one half or more.

    `after_normalization` is that of `predict`.
    """
    outputs = plan_outputs(plan)
    x, y, z = plan["block"]["training"]["patch"]
    probabilities = predict(
        network,
        scan,
        modalities=plan_modalities(plan),
        patch=(x, y, z),
        outputs=outputs,
        device=next(network.parameters()).device,
        after_normalization=after_normalization,
    )
    return dict(zip(outputs.regions, probabilities, strict=True))


def write_prediction(probabilities: Mapping[str, np.ndarray], case: PreparedCase, folder: Path) -> None:
    """Write `{case}_{region}.nii.gz`, a mask, and `{case}_{region}_probability.nii.gz` per region, on the case's grid.

    The probability is kept in steps of 1/65535; the mask is where it is one half or more, before and after rounding.
    """
    for region, probability in probabilities.items():
        write_volume(Volume(probability >= HALF, case.affine), folder / f"{case.name}_{region}.nii.gz")
        write_probability(Volume(probability, case.affine), folder / f"{case.name}_{region}_probability.nii.gz")
