"""What the rules fuse: the present sources, made whole."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffufuse.models.present import mean_of_present


def completed(
    images: Float[Tensor, "batch modality *grid"], presence: Bool[Tensor, "batch modality *grid"]
) -> Float[Tensor, "batch modality *grid"]:
    """Return the images with the mean of the present ones wherever one is absent, 0 where all are.

    So the edge of a field of view is no edge of the fused image, and a modality that is absent everywhere changes
    nothing: the mean is never above the maximum, and so for every band of a linear transform.

    Args:
        images: (B, M, ...) on a display scale of 0 to 1.
        presence: (B, M, ...); where it is False the image is ignored.
    """
    return torch.where(presence, images, mean_of_present(images, presence)).clamp(0.0, 1.0)


def largest(bands: Float[Tensor, "batch modality *grid"]) -> Float[Tensor, "batch *grid"]:
    """Return at every position the coefficient of the modality in which it has the largest magnitude."""
    return bands.gather(1, bands.abs().argmax(dim=1, keepdim=True))[:, 0]
