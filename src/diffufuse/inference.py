"""From a trained model and a prepared case to a probability in every voxel."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from diffufuse.normalization import intensity_statistics, normalize_all
from diffufuse.plans import plan_modalities, plan_regions
from diffufuse.prepared import PreparedCase
from diffufuse.scan import Scan
from diffufuse.volumes import Volume, write_volume

OVERLAP = 0.5
WINDOWS_AT_ONCE = 16


def predict(
    network: nn.Module,
    scan: Scan,
    *,
    modalities: Mapping[str, Mapping[str, Any]],
    patch: tuple[int, int],
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Probability of each region in each voxel, axial slice by axial slice.

    Overlapping windows of the training's patch size are blended with a Gaussian weight. Normalization follows the
    condition: its statistics are those of the images as they are given here.

    Args:
        network: maps images and presence to logits; in evaluation mode.
        scan: the case, in physical units, after its condition was applied.
        modalities: name to its block of `config/datasets.yaml`, in channel order.
        patch: window size (X, Y) in voxels.
        device: where the network is.

    Returns:
        (R, X, Y, Z) float32 in 0..1.
    """
    statistics = {
        name: intensity_statistics(image, scan.body & present)
        for name, image, present in zip(modalities, scan.images, scan.presence, strict=True)
    }
    images = normalize_all(scan.images, scan.presence, modalities=modalities, statistics=statistics)
    stacked = np.concatenate([images, scan.presence.astype(np.float32)])  # (2M, X, Y, Z)
    batch = torch.from_numpy(np.ascontiguousarray(stacked.transpose(3, 0, 1, 2))).to(device)

    def logits_of(window: Tensor) -> Tensor:
        seen, present = window.chunk(2, dim=1)
        return network(seen, present > 0.5)

    def logits_of_slices(part: Tensor) -> Tensor:
        blended = sliding_window_inference(part, patch, WINDOWS_AT_ONCE, logits_of, overlap=OVERLAP, mode="gaussian")
        return cast(Tensor, blended)

    with torch.inference_mode():
        logits = torch.cat([logits_of_slices(part) for part in batch.split(WINDOWS_AT_ONCE)])
    return torch.sigmoid(logits).cpu().numpy().transpose(1, 2, 3, 0)


def predict_case(network: nn.Module, scan: Scan, plan: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Mask of every region of a plan, (X, Y, Z) boolean: where its probability is one half or more."""
    device = next(network.parameters()).device
    patch = tuple(plan["block"]["training"]["patch"])
    probabilities = predict(network, scan, modalities=plan_modalities(plan), patch=patch, device=device)
    return dict(zip(plan_regions(plan), probabilities >= 0.5, strict=True))


def write_prediction(masks: Mapping[str, np.ndarray], case: PreparedCase, folder: Path) -> None:
    """Write `{case}_{region}.nii.gz`, one mask per region, on the case's grid."""
    for region, mask in masks.items():
        write_volume(Volume(mask, case.affine), folder / f"{case.name}_{region}.nii.gz")
