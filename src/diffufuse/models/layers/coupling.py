"""Invertible coupling nodes: the detail branch and its fusion unit.

Affine coupling as in Dinh et al.: Density estimation using Real NVP (arXiv 1605.08803), arranged as in CDDFuse (arXiv
2211.14461): the channels are mixed, split in halves, and each half is changed by functions of the other.
"""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

# The scale of a node is at most e, at least 1/e, whatever the weights: exp of an unbounded value overflows.
LARGEST_LOG_SCALE = 1.0


class Mixing(nn.Module):
    """Rotation of the channels of every pixel: a 1x1 convolution that is always invertible.

    CDDFuse mixes by an ordinary 1x1 convolution, which is invertible only if its matrix happens to be. Here the matrix
    is the exponential of a skew-symmetric one, so that its inverse is its transpose; an average of weights over
    training steps gives a rotation again.
    """

    def __init__(self, width: int) -> None:
        """Build a random rotation of `width` channels."""
        super().__init__()
        self.generator = nn.Parameter(torch.randn(width, width) / width**0.5)

    def rotation(self) -> Float[Tensor, "width width"]:
        """The orthogonal matrix: its inverse is its transpose."""
        return torch.matrix_exp(self.generator - self.generator.T)

    def forward(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return the mixed channels."""
        return functional.conv2d(features, self.rotation()[:, :, None, None])

    def inverse(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return the channels before mixing."""
        return functional.conv2d(features, self.rotation().T[:, :, None, None])


class SubNet(nn.Sequential):
    """Inverted residual layers without the shortcut: 1x1 to twice the channels, depthwise 3x3, and 1x1 back."""

    def __init__(self, channels: int) -> None:
        """Build the layers, from `channels` to `channels`."""
        hidden = 2 * channels
        super().__init__(
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
            nn.ReLU6(),
            nn.Conv2d(hidden, channels, 1),
        )


class CouplingNode(nn.Module):
    """One invertible node: mix, split, shift the second half by the first, then scale and shift the first by it."""

    def __init__(self, width: int) -> None:
        """Build a node of `width` channels, an even number."""
        super().__init__()
        self.mixing = Mixing(width)
        self.shift_second, self.scale_first, self.shift_first = (SubNet(width // 2) for _ in range(3))

    def forward(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return the coupled features."""
        first, second = self.mixing(features).chunk(2, dim=1)
        second = second + self.shift_second(first)
        first = first * torch.exp(self._log_scale(second)) + self.shift_first(second)
        return torch.cat([first, second], dim=1)

    def inverse(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return the features that the node was given."""
        first, second = features.chunk(2, dim=1)
        first = (first - self.shift_first(second)) * torch.exp(-self._log_scale(second))
        second = second - self.shift_second(first)
        return self.mixing.inverse(torch.cat([first, second], dim=1))

    def change_nothing(self) -> None:
        """Set the weights so that the node gives what it is given; it can learn from there."""
        nn.init.zeros_(self.mixing.generator)
        for net in (self.shift_second, self.scale_first, self.shift_first):
            for weight in net[-1].parameters():
                nn.init.zeros_(weight)

    def _log_scale(self, second: Tensor) -> Tensor:
        return LARGEST_LOG_SCALE * torch.tanh(self.scale_first(second))


class Coupling(nn.Sequential):
    """Several nodes in a row."""

    def __init__(self, width: int, *, nodes: int) -> None:
        """Build `nodes` nodes of `width` channels."""
        super().__init__(*(CouplingNode(width) for _ in range(nodes)))

    def change_nothing(self) -> None:
        """Set the weights of all nodes so; see `CouplingNode`."""
        for node in self:
            cast(CouplingNode, node).change_nothing()

    def inverse(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return the features before all nodes."""
        for node in reversed(self):
            features = cast(CouplingNode, node).inverse(features)
        return features
