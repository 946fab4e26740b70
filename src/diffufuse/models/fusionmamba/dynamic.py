"""Dynamic convolution and channel attention, the two additions of FusionMamba to selective scans."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

FIRST_STRENGTH = 0.5


class DescriptiveConvolution(nn.Conv2d):
    """3x3 convolution whose center forgets, by a learned share, what the kernel sums to.

    The kernel is w (1 - θ m c Σw), with c the center, Σw the sum of each 3x3 kernel, θ one number and m one for each
    kernel. Huang et al.: Learnable Descriptive Convolutional Network for Face Anti-Spoofing, BMVC 2022.
    """

    center: Tensor

    def __init__(self, width: int) -> None:
        """Build the layer, from `width` channels to `width`."""
        super().__init__(width, width, 3, padding=1)
        self.strength = nn.Parameter(torch.tensor(FIRST_STRENGTH))
        self.mask = nn.Parameter(torch.ones(width, width))
        center = functional.pad(torch.ones(1, 1), (1, 1, 1, 1))
        self.register_buffer("center", center, persistent=False)

    def kernel(self) -> Float[Tensor, "width width 3 3"]:
        """The kernel that is applied."""
        forgotten = self.strength * self.mask * self.weight.sum(dim=(2, 3))
        return self.weight * (1 - forgotten[..., None, None] * self.center)

    def forward(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return the convolved features."""
        return functional.conv2d(features, self.kernel(), self.bias, padding=1)


class ChannelAttention(nn.Module):
    """Efficient channel attention: every channel weighed by the means of itself and of its two neighbors.

    Wang et al.: ECA-Net, CVPR 2020 (arXiv 1910.03151).
    """

    def __init__(self) -> None:
        """Build the layer, of any number of channels."""
        super().__init__()
        self.neighbors = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return the weighed features."""
        means = features.mean(dim=(2, 3))[:, None]
        return features * torch.sigmoid(self.neighbors(means))[:, 0, :, None, None]
