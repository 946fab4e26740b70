"""FusionMamba: from two images to the fused image.

Xie et al.: FusionMamba: Dynamic Feature Enhancement for Multimodal Image Fusion with Mamba, 2024 (arXiv 2404.09498).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffufuse.models.fused import Fused
from diffufuse.models.fusionmamba.blocks import DynamicBlock
from diffufuse.models.fusionmamba.cross import CrossBlock
from diffufuse.models.layers.noise import Noise, drawn
from diffufuse.models.layers.norms import PixelNorm
from diffufuse.models.layers.ss2d import Enlarging, Halving
from diffufuse.models.pair import PairFuser

Base = Literal["mean", "twice_the_sum"]
BASES = {"mean": 0.5, "twice_the_sum": 2.0}  # of each source
LAST = 4  # channels of all pixels of an enlarged one, in units of the width


class FusionMamba(PairFuser):
    """One encoder for both images, a cross block at every level, and a decoder that adds to their mean."""

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        widths: Sequence[int] = (96, 192, 384, 768),
        blocks: Sequence[int] = (2, 2, 9, 2),
        patch: int = 4,
        states: int = 16,
        feed_forward: int = 4,
        drop_path: float = 0.0,
        base: Base = "mean",
    ) -> None:
        """Build the network; the defaults are the published sizes.

        Args:
            modalities: 2.
            outputs: 1, the fused image.
            widths: channels per level, from fine to coarse; every level but the first halves the resolution.
            blocks: number of blocks per level, of the encoder and again of the decoder.
            patch: pixels along each side of the square that the first level merges.
            states: number of states of every scanned channel.
            feed_forward: hidden channels of the feed-forward layers in units of the width.
            drop_path: how often a residual of a block is left out in training.
            base: what the decoder's image is added to: the mean of both images, or twice their sum, as published,
                which is white wherever they add up to half of white.
        """
        super().__init__()
        side = patch * 2 ** (len(widths) - 1)
        self.stride = (side, side, 1)
        self.base = BASES[base]
        self.embeddings = nn.ModuleList(
            nn.Sequential(nn.Conv2d(1, widths[0], patch, patch), PixelNorm(widths[0])) for _ in range(modalities)
        )

        def stage(width: int, count: int) -> nn.Sequential:
            made = (
                DynamicBlock(width, states=states, feed_forward=feed_forward, drop_path=drop_path) for _ in range(count)
            )
            return nn.Sequential(*made)

        sizes = list(zip(widths, blocks, strict=True))
        self.encoder, self.decoder = (nn.ModuleList(stage(*size) for size in sizes) for _ in range(2))
        self.downs = nn.ModuleList(Halving(fine, coarse) for fine, coarse in pairwise(widths))
        self.ups = nn.ModuleList(Enlarging(coarse, fine) for fine, coarse in pairwise(widths))
        self.crossings = nn.ModuleList(CrossBlock(width, states=states) for width in widths)
        last = max(1, LAST * widths[0] // patch**2)
        self.enlarge = Enlarging(widths[0], last, factor=patch)
        self.head = nn.Conv2d(last, outputs, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def fuse_pair(self, pair: Float[Tensor, "batch 2 x y"], noise: Noise = drawn) -> Fused:
        """Return the fused image; see `PairFuser`."""
        images = pair.split(1, dim=1)
        features = torch.cat([embed(image) for embed, image in zip(self.embeddings, images, strict=True)])
        skips = []
        for level, stage in enumerate(self.encoder):
            if level:
                features = self.downs[level - 1](features)
            skips.append(features.chunk(2))
            features = stage(features)
        first, second = features.chunk(2)
        decoded = self._decoded(first + second, skips)
        return Fused((self.base * pair.sum(dim=1, keepdim=True) + self.head(decoded))[..., None])

    def _decoded(self, features: Tensor, skips: Sequence[Sequence[Tensor]]) -> Tensor:
        """Features (B, last, X, Y) from the bottleneck and the two skips of every level, fine to coarse."""
        for level in reversed(range(len(skips))):
            features = self.decoder[level](features + self.crossings[level](*skips[level]))
            if level:
                features = self.ups[level - 1](features)
        return self.enlarge(features)
