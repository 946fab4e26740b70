"""CDDFuse: what both images share by attention, what they do not by coupling nodes.

Zhao et al.: CDDFuse: Correlation-Driven Dual-Branch Feature Decomposition for Multi-Modality Image Fusion, CVPR 2023
(arXiv 2211.14461), from its description. The leader of Fuse4Seg follows it and has the same parts, but corrects the
mean of the images; here the decoder draws the image itself, in the form for medical images.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.fused import Fused, Restored
from diffufuse.models.fusers.sources import completed
from diffufuse.models.layers.coupling import Coupling
from diffufuse.models.layers.noise import Noise, drawn
from diffufuse.models.layers.restormer import AttentionBlocks, DenseAttentionBlock
from diffufuse.models.pair import PairFuser


class CDDFuse(PairFuser):
    """An encoder with two branches and a decoder, all shared by both images, and a fusion unit for each branch.

    In the first stage every image is decoded from its own features, in the second one the fused image from the fused
    features.
    """

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        width: int = 64,
        blocks: int = 4,
        heads: int = 8,
        feed_forward: float = 2.0,
        nodes: int = 3,
    ) -> None:
        """Build the network; the defaults are the sizes of the release.

        Args:
            modalities: 2, structure and function.
            outputs: 1, the fused image.
            width: number of channels, even and a multiple of `heads`.
            blocks: number of attention blocks of the encoder, and again of the decoder.
            heads: number of attention heads.
            feed_forward: hidden channels of their feed-forward layers in units of `width`.
            nodes: number of coupling nodes of the detail branch; its fusion unit has one.
        """
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            AttentionBlocks(width, blocks=blocks, heads=heads, feed_forward=feed_forward),
        )
        self.base_branch, self.base_fusion = (DenseAttentionBlock(width, heads=heads) for _ in range(2))
        self.detail_branch, self.detail_fusion = Coupling(width, nodes=nodes), Coupling(width, nodes=1)
        # So the second stage begins with the image that the decoder draws of the summed features.
        self.base_fusion.change_nothing()
        self.detail_fusion.change_nothing()
        self.decoder = nn.Sequential(
            nn.Conv2d(2 * width, width, 1, bias=False),
            AttentionBlocks(width, blocks=blocks, heads=heads, feed_forward=feed_forward),
            nn.Conv2d(width, width // 2, 3, padding=1, bias=False),
            nn.LeakyReLU(),
            nn.Conv2d(width // 2, outputs, 3, padding=1, bias=False),
            nn.Sigmoid(),
        )

    def fuse_pair(self, pair: Float[Tensor, "batch 2 x y"], noise: Noise = drawn) -> Fused:
        """Return the image decoded from the sums of both base and both detail features, each behind its fusion unit."""
        base, detail = self._features(pair)
        fused = self._decoded(self.base_fusion(base.sum(dim=1)), self.detail_fusion(detail.sum(dim=1)))
        return Fused(fused[..., None], base, detail)

    def restored(self, images: Float[Tensor, "batch 2 x y 1"], presence: Bool[Tensor, "batch 2 x y 1"]) -> Restored:
        """Return each image decoded from its own features; arguments as for `forward`."""
        base, detail = self._features(completed(images, presence)[..., 0])
        given = self._decoded(base.flatten(0, 1), detail.flatten(0, 1)).unflatten(0, base.shape[:2])
        wanted = torch.where(presence, images, 0.0)
        return Restored(given[:, :, 0, ..., None], wanted, presence, base, detail)

    def first_stage(self) -> Iterator[nn.Parameter]:
        """The weights that restore images: all but those of the fusion units."""
        for part in (self.encoder, self.base_branch, self.detail_branch, self.decoder):
            yield from part.parameters()

    def second_stage(self) -> Iterator[nn.Parameter]:
        """The weights that fuse images: all, as published."""
        return self.parameters()

    def _features(self, pair: Tensor) -> tuple[Tensor, Tensor]:
        """Base and detail features (B, 2, W, X, Y) of both images."""
        shared = self.encoder(pair.flatten(0, 1)[:, None])
        base, detail = (
            branch(shared).unflatten(0, pair.shape[:2]) for branch in (self.base_branch, self.detail_branch)
        )
        return base, detail

    def _decoded(self, base: Tensor, detail: Tensor) -> Tensor:
        return self.decoder(torch.cat([base, detail], dim=1))
