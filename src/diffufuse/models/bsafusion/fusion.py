"""From pixels to features, and from the features of two images that lie on each other to one image."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from diffufuse.models.layers.restormer import AttentionBlock

EMBEDDED = 3  # channels of the maps that tokens are made of


class Encoder(nn.Module):
    """Two attention blocks between convolutions, the same for both images."""

    def __init__(self, width: int, shallow: int, *, heads: int, feed_forward: float) -> None:
        """Build the network.

        Args:
            width: channels of its blocks.
            shallow: channels of the shallow features.
            heads: as for `AttentionBlock`.
            feed_forward: likewise.
        """
        super().__init__()
        self.shallow = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            AttentionBlock(width, heads=heads, feed_forward=feed_forward),
            nn.Conv2d(width, shallow, 1),
        )
        self.embedded = nn.Sequential(
            nn.Conv2d(shallow, width, 1),
            AttentionBlock(width, heads=heads, feed_forward=feed_forward),
            nn.Conv2d(width, EMBEDDED, 1),
        )

    def forward(
        self, image: Float[Tensor, "batch 1 x y"]
    ) -> tuple[Float[Tensor, "batch shallow x y"], Float[Tensor, "batch 3 x y"]]:
        """Return shallow features, and the maps that tokens are made of."""
        shallow = self.shallow(image)
        return shallow, self.embedded(shallow)


class Fusion(nn.Module):
    """Attention blocks from the grid of the tokens to that of the pixels, where shallow features join."""

    def __init__(self, widths: Sequence[int], shallow: int, *, heads: int, feed_forward: float) -> None:
        """Build the levels.

        Args:
            widths: channels per level, from coarse to fine; the first is that of the tokens, the last level is at full
                resolution.
            shallow: channels of the shallow features of an image.
            heads: of the attention at each level, a divisor of every width.
            feed_forward: as for `AttentionBlock`.
        """
        super().__init__()
        sizes: dict[str, Any] = {"heads": heads, "feed_forward": feed_forward}
        self.merge = nn.Conv2d(2 * widths[0], widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(AttentionBlock(width, **sizes) for width in widths[:-1])
        self.narrower = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))
        joined = widths[-1] + 2 * shallow
        self.last = nn.Sequential(AttentionBlock(joined, **sizes), nn.Conv2d(joined, 1, 3, padding=1))

    def forward(
        self, tokens: Float[Tensor, "batch both fx fy"], shallow: Float[Tensor, "batch both_shallow x y"]
    ) -> Float[Tensor, "batch 1 x y"]:
        """Return the fused image in 0..1.

        Args:
            tokens: of both images, one behind the other.
            shallow: features of both images, likewise.
        """
        features = self.merge(tokens)
        for block, narrower in zip(self.blocks, self.narrower, strict=True):
            narrowed = narrower(block(features))
            features = functional.interpolate(narrowed, scale_factor=2, mode="bilinear", align_corners=False)
        return torch.sigmoid(self.last(torch.cat([features, shallow], dim=1)))
