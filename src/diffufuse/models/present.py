"""The mean of the sources of a fused image, from which all fusers and their losses start."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def mean_of_present(
    images: Float[Tensor, "batch modality *grid"], presence: Bool[Tensor, "batch modality *grid"]
) -> Float[Tensor, "batch 1 *grid"]:
    """Return the mean of the modalities present at each pixel, 0 where there is none."""
    count = presence.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.where(presence, images, 0.0).float().sum(dim=1, keepdim=True) / count
