"""What fuses the features of two images at one level of FusionMamba (its dynamic feature fusion module)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffufuse.models.fusionmamba.dynamic import ChannelAttention, DescriptiveConvolution
from diffufuse.models.layers.norms import PixelNorm
from diffufuse.models.layers.ss2d import SelectiveScan2d


class Enhancement(nn.Module):
    """Features of one image with their texture, and with what the other image has beyond it."""

    def __init__(self, width: int) -> None:
        """Build the module of `width` channels."""
        super().__init__()
        self.texture, self.difference = DescriptiveConvolution(width), DescriptiveConvolution(width)

    def forward(
        self, own: Float[Tensor, "batch width x y"], other: Float[Tensor, "batch width x y"]
    ) -> Float[Tensor, "batch width x y"]:
        """Return the enhanced features of the image whose features are `own`."""
        beyond = other - own
        weights = torch.sigmoid(beyond.mean(dim=(2, 3), keepdim=True))
        return own + self.texture(own) + self.difference(weights * beyond)


class CrossBlock(nn.Module):
    """The enhanced features of two images, added, and one selective scan that reads both."""

    def __init__(self, width: int, *, states: int) -> None:
        """Build the block; arguments as in `DynamicBlock`."""
        super().__init__()
        self.enhance_first, self.enhance_second = Enhancement(width), Enhancement(width)
        self.norm_first, self.norm_second = PixelNorm(width), PixelNorm(width)
        self.scan = SelectiveScan2d(width, inputs=2, states=states)
        self.attention = ChannelAttention()

    def forward(
        self, first: Float[Tensor, "batch width x y"], second: Float[Tensor, "batch width x y"]
    ) -> Float[Tensor, "batch width x y"]:
        """Return the fused features."""
        first, second = self.enhance_first(first, second), self.enhance_second(second, first)
        both = torch.cat([self.norm_first(first), self.norm_second(second)], dim=1)
        return first + second + self.attention(self.scan(both))
