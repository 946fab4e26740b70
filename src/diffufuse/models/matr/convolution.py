"""Context-gated convolution: a kernel that the whole image opens and closes.

Lin et al.: Context-Gated Convolution, ECCV 2020 (arXiv 1910.05577), from its equations: every input channel is
summarized by its means over a grid of 3x3 cells, encoded to few numbers, and decoded to one gate for each of the 3x3
taps of a kernel, once for the input channel and, mixed over channels, once for the output channel.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from diffufuse.models.layers.norms import BatchNorm

SIDE = 3
TAPS = SIDE**2
CODE = TAPS // 2 + 1


class ContextGatedConv(nn.Module):
    """3x3 convolution whose kernel is multiplied, for each image, by gates from the context of that image."""

    def __init__(self, inputs: int, outputs: int, *, places: int = 1) -> None:
        """Build the convolution, without bias.

        Args:
            inputs: number of input channels.
            outputs: number of output channels.
            places: at how many places of a network it is applied; see `BatchNorm`.
        """
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(outputs, inputs, SIDE, SIDE))
        nn.init.kaiming_normal_(self.kernel)
        self.encode = nn.Linear(TAPS, CODE, bias=False)
        self.mix = nn.Linear(inputs, outputs, bias=False)
        self.of_input, self.of_output = (nn.Linear(CODE, TAPS, bias=False) for _ in range(2))
        self.norm_input, self.norm_mixed, self.norm_output = (
            BatchNorm(width, places=places) for width in (inputs, inputs, outputs)
        )

    def forward(
        self, features: Float[Tensor, "batch inputs x y"], place: int = 0
    ) -> Float[Tensor, "batch outputs x y"]:
        """Return the convolved features of each image by its own kernel; borders are padded with zeros."""
        batch = len(features)
        kernels = rearrange(self.gates(features, place) * self.kernel, "b o i h w -> (b o) i h w")
        of_all = rearrange(features, "b i x y -> 1 (b i) x y")
        convolved = functional.conv2d(of_all, kernels, padding=SIDE // 2, groups=batch)
        return rearrange(convolved, "1 (b o) x y -> b o x y", b=batch)

    def gates(
        self, features: Float[Tensor, "batch inputs x y"], place: int = 0
    ) -> Float[Tensor, "batch outputs inputs h w"]:
        """Return what the kernel is multiplied by, 0..1: the sum of both gates behind a sigmoid (Eq. 4)."""
        context = self.encode(functional.adaptive_avg_pool2d(features, SIDE).flatten(2))
        of_input = self.of_input(functional.relu(self.norm_input(context, place)))
        mixed = self.mix(functional.relu(self.norm_mixed(context, place)).transpose(1, 2)).transpose(1, 2)
        of_output = self.of_output(functional.relu(self.norm_output(mixed, place)))
        summed = of_input[:, None] + of_output[:, :, None]
        return torch.sigmoid(summed).unflatten(3, (SIDE, SIDE))


class GatedLayer(nn.Module):
    """Context-gated convolution, batch normalization, ReLU."""

    def __init__(self, inputs: int, outputs: int, *, places: int = 1) -> None:
        """Build the layer; arguments as for `ContextGatedConv`."""
        super().__init__()
        self.conv = ContextGatedConv(inputs, outputs, places=places)
        self.norm = BatchNorm(outputs, places=places)

    def forward(
        self, features: Float[Tensor, "batch inputs x y"], place: int = 0
    ) -> Float[Tensor, "batch outputs x y"]:
        """Return the features behind the layer, applied at a place of the network."""
        return functional.relu(self.norm(self.conv(features, place), place))
