"""Selective scan over an image in four directions (SS2D), and the layers that halve and double a grid between them.

Liu et al.: VMamba: Visual State Space Model, 2024 (arXiv 2401.10166), as used by Ruan et al.: VM-UNet, 2024 (arXiv
2402.02491). Implemented from their descriptions.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from diffufuse.models.layers.norms import PixelNorm
from diffufuse.models.layers.selective_scan import selective_scan

DIRECTIONS = 4
INNER = 2  # channels that are scanned, in units of the width
STEP_RANK = 16  # the step of each channel comes from as many numbers as the width has sixteens
# Steps of an untrained scan: a channel forgets after ten to a thousand pixels.
SHORTEST_STEP, LONGEST_STEP = 1e-3, 1e-1


class SelectiveScan2d(nn.Module):
    """Scan of all pixels by rows and by columns, from either end, whose parameters depend on what it reads; gated."""

    def __init__(self, width: int, *, inputs: int = 1, states: int = 16) -> None:
        """Build the layer.

        Args:
            width: number of channels, of each input and of the output.
            inputs: number of inputs; each has a projection of its own, and their sum is scanned.
            states: number of states of every channel.
        """
        super().__init__()
        inner, self.rank = INNER * width, math.ceil(width / STEP_RANK)
        self.states = states
        self.projection = nn.Conv2d(inputs * width, 2 * inner, 1, bias=False)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.selection = nn.Parameter(_uniform(DIRECTIONS, inner, self.rank + 2 * states, bound=inner**-0.5))
        self.step_weight = nn.Parameter(_uniform(DIRECTIONS, self.rank, inner, bound=self.rank**-0.5))
        self.step_bias = nn.Parameter(_first_steps(DIRECTIONS, inner))
        rates = torch.arange(1, states + 1, dtype=torch.float32).log()
        self.log_rates = nn.Parameter(rates.repeat(DIRECTIONS, inner, 1))
        self.direct = nn.Parameter(torch.ones(DIRECTIONS, inner))
        self.norm = PixelNorm(inner)
        self.result = nn.Conv2d(inner, width, 1, bias=False)

    def forward(self, features: Float[Tensor, "batch inputs_width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return for every pixel what the four scans know there.

        Args:
            features: of one input, or those of several one after the other.
        """
        scanned, gate = self.projection(features).chunk(2, dim=1)
        scanned = functional.silu(self.depthwise(scanned))
        return self.result(self.norm(self.scan(scanned)) * functional.silu(gate))

    def scan(self, features: Float[Tensor, "batch inner x y"]) -> Float[Tensor, "batch inner x y"]:
        """Return the sum of the scans in all directions."""
        values = sequences(features)
        chosen = torch.einsum("tbki,kic->tbkc", values, self.selection)
        steps, write, read = chosen.split([self.rank, self.states, self.states], dim=-1)
        steps = functional.softplus(torch.einsum("tbkr,kri->tbki", steps, self.step_weight) + self.step_bias)
        scanned = selective_scan(values, steps, -self.log_rates.exp(), write, read) + values * self.direct
        return merged(scanned, features.shape[-2:])


class Halving(nn.Module):
    """Merging of patches: the four pixels of a 2x2 patch become one, by a projection of their channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Build the layer; arguments are numbers of channels."""
        super().__init__()
        self.norm = PixelNorm(4 * inputs)
        self.projection = nn.Conv2d(4 * inputs, outputs, 1, bias=False)

    def forward(self, features: Float[Tensor, "batch inputs x y"]) -> Float[Tensor, "batch outputs half_x half_y"]:
        """Return the features at half the size."""
        return self.projection(self.norm(functional.pixel_unshuffle(features, 2)))


class Enlarging(nn.Module):
    """Expansion of patches: a pixel becomes a square of pixels, by a projection of its channels."""

    def __init__(self, inputs: int, outputs: int, *, factor: int = 2) -> None:
        """Build the layer.

        Args:
            inputs: number of channels before.
            outputs: number of channels after.
            factor: pixels along each side of the square.
        """
        super().__init__()
        self.factor = factor
        self.projection = nn.Conv2d(inputs, factor**2 * outputs, 1, bias=False)
        self.norm = PixelNorm(outputs)

    def forward(self, features: Float[Tensor, "batch inputs x y"]) -> Float[Tensor, "batch outputs large_x large_y"]:
        """Return the features at `factor` times the size."""
        return self.norm(functional.pixel_shuffle(self.projection(features), self.factor))


def sequences(features: Float[Tensor, "batch channel x y"]) -> Float[Tensor, "time batch 4 channel"]:
    """Return the pixels row after row, column after column, and both from the last to the first."""
    rows, columns = (rearrange(features, f"b c x y -> ({order}) b c") for order in ("x y", "y x"))
    onward = torch.stack([rows, columns], dim=2)
    return torch.cat([onward, onward.flip(0)], dim=2)


def merged(
    scanned: Float[Tensor, "time batch 4 channel"], size: tuple[int, int] | torch.Size
) -> Float[Tensor, "batch channel x y"]:
    """Return the sum of the four sequences at every pixel of an image of that size; see `sequences`."""
    onward, backward = scanned.chunk(2, dim=2)
    rows, columns = (onward + backward.flip(0)).unbind(dim=2)
    return rearrange(rows, "(x y) b c -> b c x y", x=size[0]) + rearrange(columns, "(y x) b c -> b c x y", x=size[0])


def _uniform(*shape: int, bound: float) -> Tensor:
    return torch.empty(*shape).uniform_(-bound, bound)


def _first_steps(*shape: int) -> Tensor:
    """Biases for which softplus gives steps whose logarithm is uniform."""
    low, high = math.log(SHORTEST_STEP), math.log(LONGEST_STEP)
    steps = torch.empty(*shape).uniform_(low, high).exp()
    return steps + torch.log(-torch.expm1(-steps))
