"""Adaptive fusion: two feature maps weighted at each pixel of each channel by three kinds of attention.

The weights are those of the content-guided attention of Chen et al., DEA-Net, IEEE TIP 33, 2024 (arXiv 2301.04805), in
the form that DM-FNet (arXiv 2506.15218) gives it.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Weights = Literal["bounded", "literal"]

REDUCTION = 8


class AdaptiveFusion(nn.Module):
    """Fusion of the features of two images: w a + (1 - w) b + a + b."""

    def __init__(self, width: int, *, weights: Weights) -> None:
        """Build the fusion.

        Args:
            width: number of channels.
            weights: `bounded`, w is in 0..1; `literal`, as released, w is multiplied by a + b, so that it is not.
        """
        super().__init__()
        self.weights, narrow = weights, max(width // REDUCTION, 1)
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, padding_mode="replicate")
        self.channel = nn.Sequential(nn.Conv2d(width, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, width, 1))
        self.pixel = nn.Conv2d(2 * width, width, 3, padding=1, groups=width, padding_mode="replicate")

    def forward(
        self, one: Float[Tensor, "batch width x y"], other: Float[Tensor, "batch width x y"]
    ) -> Float[Tensor, "batch width x y"]:
        """Return the fused features."""
        both, weight = one + other, self.weight(one + other)
        if self.weights == "literal":
            weight = weight * both
        return weight * one + (1 - weight) * other + both

    def weight(self, both: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return the weight of the first image, in 0..1, from the sum of the features of both."""
        spatial = self.spatial(torch.cat([both.mean(dim=1, keepdim=True), both.amax(dim=1, keepdim=True)], dim=1))
        rough = spatial + self.channel(both.mean(dim=(2, 3), keepdim=True))
        return torch.sigmoid(self.pixel(torch.stack([both, rough], dim=2).flatten(1, 2)))
