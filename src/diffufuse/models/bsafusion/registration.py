"""The field that brings the second image onto the first: in steps from coarse to fine, each seen from both sides."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from diffufuse.models.layers.restormer import AttentionBlock
from diffufuse.models.layers.warping import finer, moved


class Step(nn.Module):
    """How far each feature of one map is from its like in another: at most one place along each axis."""

    def __init__(self, width: int, *, heads: int, feed_forward: float) -> None:
        """Build the network; `width` is that of each map, other arguments as for `AttentionBlock`."""
        super().__init__()
        self.compare = nn.Conv2d(2 * width, width, 3, padding=1)
        self.block = AttentionBlock(width, heads=heads, feed_forward=feed_forward)
        self.displacement = nn.Conv2d(width, 2, 3, padding=1)
        # Untrained, both images lie as they should.
        for parameter in self.displacement.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, here: Float[Tensor, "batch width fx fy"], there: Float[Tensor, "batch width fx fy"]
    ) -> Float[Tensor, "batch 2 fx fy"]:
        """Return displacements in -1..1, in pixels of the maps."""
        return torch.tanh(self.displacement(self.block(self.compare(torch.cat([here, there], dim=1)))))


class Registration(nn.Module):
    """Stepwise registration: what is left of the displacement is estimated at each of the levels.

    At each level the second map is moved by the field so far, then two networks look from one map to the other and
    back; what the one finds less what the other finds is added to the field.
    """

    def __init__(self, widths: Sequence[int], *, heads: int, feed_forward: float) -> None:
        """Build the levels.

        Args:
            widths: channels per level, from coarse to fine; the last level is at full resolution.
            heads: of the attention at each level, a divisor of every width.
            feed_forward: as for `AttentionBlock`.
        """
        super().__init__()
        self.narrower = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.forth, self.back = (
            nn.ModuleList(Step(width, heads=heads, feed_forward=feed_forward) for width in widths) for _ in range(2)
        )

    def forward(
        self, first: Float[Tensor, "batch width fx fy"], second: Float[Tensor, "batch width fx fy"]
    ) -> Float[Tensor, "batch 2 x y"]:
        """Return the field in pixels, at full resolution: the second image moved by it lies on the first."""
        field = self._closer(0, first, second, torch.zeros_like(first[:, :2]))
        for level, narrower in enumerate(self.narrower, start=1):
            first, second = (narrower(_enlarged(maps)) for maps in (first, second))
            field = self._closer(level, first, second, finer(field))
        return field

    def _closer(self, level: int, first: Tensor, second: Tensor, field: Tensor) -> Tensor:
        second = moved(second, field)
        return field + self.forth[level](first, second) - self.back[level](second, first)


def _enlarged(maps: Tensor) -> Tensor:
    return functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
