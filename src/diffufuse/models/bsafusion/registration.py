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

    def __init__(self, width: int, *, reach: int, heads: int, feed_forward: float) -> None:
        """Build the network.

        Args:
            width: channels of each map.
            reach: as for `Registration`.
            heads: as for `AttentionBlock`.
            feed_forward: likewise.
        """
        super().__init__()
        self.reach = reach
        shifts = (2 * reach + 1) ** 2 if reach else 0
        self.compare = nn.Conv2d(2 * width + shifts, width, 3, padding=1)
        self.block = AttentionBlock(width, heads=heads, feed_forward=feed_forward)
        self.displacement = nn.Conv2d(width, 2, 3, padding=1)
        # Untrained, both images lie as they should.
        for parameter in self.displacement.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, here: Float[Tensor, "batch width fx fy"], there: Float[Tensor, "batch width fx fy"]
    ) -> Float[Tensor, "batch 2 fx fy"]:
        """Return displacements in -1..1, in pixels of the maps."""
        seen = [here, there, fits(here, there, self.reach)] if self.reach else [here, there]
        return torch.tanh(self.displacement(self.block(self.compare(torch.cat(seen, dim=1)))))


def fits(
    here: Float[Tensor, "batch width fx fy"], there: Float[Tensor, "batch width fx fy"], reach: int
) -> Float[Tensor, "batch shift fx fy"]:
    """Return how well the features at each place fit those around it in another map: their cosine, -1..1.

    What is the same all over a map, such as what both tell of their modality, says nothing of the place and is taken
    off before.

    Args:
        here: one map.
        there: the other, which goes on as at its border.
        reach: places along each axis; the result has (2 reach + 1)² channels, row by row.
    """
    (x, y), shifts = here.shape[2:], range(2 * reach + 1)
    here, there = (functional.normalize(maps - maps.mean(dim=(2, 3), keepdim=True), dim=1) for maps in (here, there))
    around = functional.pad(there, (reach,) * 4, mode="replicate")
    return torch.stack([(here * around[..., i : i + x, j : j + y]).sum(dim=1) for i in shifts for j in shifts], dim=1)


class Registration(nn.Module):
    """Stepwise registration: what is left of the displacement is estimated at each of the levels.

    At each level the second map is moved by the field so far, then two networks look from one map to the other and
    back; what the one finds less what the other finds is added to the field.
    """

    def __init__(self, widths: Sequence[int], *, reach: int, heads: int, feed_forward: float) -> None:
        """Build the levels.

        Args:
            widths: channels per level, from coarse to fine; the last level is at full resolution.
            reach: places around each one at which its like in the other map is looked for by correlation; with 0 it is
                found from both maps alone, as published.
            heads: of the attention at each level, a divisor of every width.
            feed_forward: as for `AttentionBlock`.
        """
        super().__init__()
        self.narrower = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.forth, self.back = (
            nn.ModuleList(Step(width, reach=reach, heads=heads, feed_forward=feed_forward) for width in widths)
            for _ in range(2)
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
