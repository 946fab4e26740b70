"""The leader of Fuse4Seg: the network that fuses.

Guo et al.: Fuse4Seg, arXiv 2409.10328; widths, numbers of blocks and whatever else it leaves open follow Zhao et al.:
CDDFuse: Correlation-Driven Dual-Branch Feature Decomposition for Multi-Modality Image Fusion, CVPR 2023 (arXiv
2211.14461), implemented from its description.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from diffufuse.models.fuse4seg.detail import details_of, enlarged
from diffufuse.models.fuse4seg.haar import squeezed
from diffufuse.models.fuse4seg.head import Head, gray_levels
from diffufuse.models.fused import Fused
from diffufuse.models.layers.coupling import Coupling
from diffufuse.models.layers.restormer import AttentionBlock, AttentionBlocks
from diffufuse.models.present import mean_of_present

STEEPEST = 4.0  # logits per gray level at 0.5: a gain of 1 adds about as much detail as the source has


class Fuse4SegLeader(nn.Module):
    """Shared encoder, a base and a detail branch, fusion units of both, and a decoder to one channel.

    The encoder and both branches are those of all modalities; a learned constant per modality tells them apart, without
    which the sum of their features, and so the fused image, would be the same with the modalities exchanged.
    """

    dims = 2

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
        haar_levels: int = 0,
        head: Head = "sigmoid",
    ) -> None:
        """Build the network; the defaults are the sizes of CDDFuse.

        Args:
            modalities: number of input images M.
            outputs: 1, the fused image.
            width: number of channels, even and a multiple of `heads`.
            blocks: number of attention blocks of the encoder, and again of the decoder.
            heads: number of attention heads.
            feed_forward: hidden channels of their feed-forward layers in units of `width`; 1 in the base branch.
            nodes: number of coupling nodes of the detail branch; its fusion unit has one.
            haar_levels: how often the images are halved, by an orthonormal Haar transform that keeps all they have. The
                correction is then a smooth image and smooth gains of the modalities' own details, one of each a
                level; with 0 the network works on the pixels and draws the correction itself.
            head: what bounds the fused image.
        """
        super().__init__()
        self.haar_levels, self.head = haar_levels, head
        side, bands = 2**haar_levels, 4**haar_levels
        self.stride = (side, side, 1)
        self.stem = nn.Conv2d(bands, width, 3, padding=1)
        self.modality = nn.Parameter(0.02 * torch.randn(modalities, width))
        self.encoder = AttentionBlocks(width, blocks=blocks, heads=heads, feed_forward=feed_forward)
        self.base_branch, self.base_fusion = (AttentionBlock(width, heads=heads, feed_forward=1.0) for _ in range(2))
        self.detail_branch, self.detail_fusion = Coupling(width, nodes=nodes), Coupling(width, nodes=1)
        self.merge = nn.Conv2d(2 * width, width, 1, bias=False)
        self.decoder = AttentionBlocks(width, blocks=blocks, heads=heads, feed_forward=feed_forward)
        last = nn.Conv2d(width // 2, 1 + modalities * haar_levels, 3, padding=1)
        # The untrained leader gives the mean, on which the follower was trained in stage 1.
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.correction = nn.Sequential(nn.Conv2d(width, width // 2, 3, padding=1), nn.LeakyReLU(), last)

    def forward(
        self, images: Float[Tensor, "batch modality x y 1"], presence: Bool[Tensor, "batch modality x y 1"]
    ) -> Float[Tensor, "batch 1 x y 1"]:
        """Return the fused image.

        Args:
            images: (B, M, X, Y, 1) on a display scale of 0 to 1; X and Y are multiples of `stride`.
            presence: (B, M, X, Y, 1); where it is False the image is ignored.
        """
        return self.decomposed(images, presence).fused

    def decomposed(
        self, images: Float[Tensor, "batch modality x y 1"], presence: Bool[Tensor, "batch modality x y 1"]
    ) -> Fused:
        """Return the fused image with the base and detail features of every modality; arguments as for `forward`."""
        masked, presence = torch.where(presence, images, 0.0)[..., 0], presence[..., 0]
        bands = squeezed(rearrange(masked, "b m x y -> (b m) 1 x y"), levels=self.haar_levels)
        base, detail = self._features(bands, presence)
        maps = self._decoded(base.sum(dim=1), detail.sum(dim=1))
        correction = self._drawn(maps, masked, presence)
        inside = presence.any(dim=1, keepdim=True)
        fused = gray_levels(mean_of_present(masked, presence), correction, inside, head=self.head)
        return Fused(fused[..., None], base, detail)

    def prior(
        self, images: Float[Tensor, "batch modality x y 1"], presence: Bool[Tensor, "batch modality x y 1"]
    ) -> Float[Tensor, "batch 1 x y 1"]:
        """Return the image of stage 1: the mean of the present modalities behind the same bounds."""
        mean = mean_of_present(images[..., 0], presence[..., 0])
        inside = presence[..., 0].any(dim=1, keepdim=True)
        return gray_levels(mean, torch.zeros_like(mean), inside, head=self.head)[..., None]

    def _features(self, bands: Tensor, presence: Tensor) -> tuple[Tensor, Tensor]:
        """Base and detail features (B, M, W, x, y) of every modality."""
        count, modalities = presence.shape[:2]
        present = rearrange(presence, "b m x y -> (b m) 1 x y")
        present = functional.max_pool2d(present.float(), self.stride[:2]) > 0
        identity = self.modality.repeat(count, 1)[:, :, None, None]
        shared = self.encoder(self.stem(bands) + identity)
        base, detail = (
            torch.where(present, branch(shared), 0.0).unflatten(0, (-1, modalities))
            for branch in (self.base_branch, self.detail_branch)
        )
        return base, detail

    def _decoded(self, base: Tensor, detail: Tensor) -> Tensor:
        """The maps (B, 1 + M L, x, y) of the correction from features summed over the present modalities."""
        fused = torch.cat([self.base_fusion(base), self.detail_fusion(detail)], dim=1)
        return self.correction(self.decoder(self.merge(fused)))

    def _drawn(self, maps: Tensor, masked: Tensor, presence: Tensor) -> Tensor:
        """The correction (B, 1, X, Y): the first map, and the others as gains of the modalities' details.

        So it is as sharp as its sources and has no trace of the grid of the maps.
        """
        if self.haar_levels == 0:
            return maps
        maps = enlarged(maps, self.haar_levels)
        details = details_of(masked, presence, levels=self.haar_levels)
        return maps[:, :1] + STEEPEST * (maps[:, 1:] * details).sum(dim=1, keepdim=True)
