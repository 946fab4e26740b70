"""Normalization layers that torch does not have."""

from jaxtyping import Float
from torch import Tensor, nn


class PixelNorm(nn.LayerNorm):
    """Layer normalization over the channels of every pixel."""

    def forward(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return features of mean 0 and variance 1 at every pixel, scaled and shifted."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
