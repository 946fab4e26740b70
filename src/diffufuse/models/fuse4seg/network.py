"""Fuse4Seg: leader and follower in one module.

Guo et al.: Fuse4Seg, arXiv 2409.10328. The two are trained against each other by the regimen `bilevel`.
"""

import math
from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.convnext_unet import ConvNeXtUNet
from diffufuse.models.fuse4seg.head import Head
from diffufuse.models.fuse4seg.leader import Fuse4SegLeader


class Fuse4Seg(nn.Module):
    """A leader that fuses all modalities to one image, and a follower that segments that image alone."""

    dims = 2

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        leader_width: int = 64,
        leader_blocks: int = 4,
        leader_heads: int = 8,
        leader_feed_forward: float = 2.0,
        leader_nodes: int = 3,
        haar_levels: int = 0,
        head: Head = "sigmoid",
        follower_widths: Sequence[int] = (32, 64, 128, 256),
        follower_blocks: int = 2,
        follower_layers: int = 2,
        follower_heads: int = 8,
        follower_stem: int = 1,
    ) -> None:
        """Build both networks.

        Args:
            modalities: number of input images M.
            outputs: number of output channels C.
            leader_width: channels of the leader; this and the following as in `Fuse4SegLeader`.
            leader_blocks: its attention blocks, of encoder and decoder each.
            leader_heads: its attention heads.
            leader_feed_forward: width of its feed-forward layers.
            leader_nodes: its coupling nodes.
            haar_levels: levels of the Haar transform on which it works.
            head: what bounds the fused image.
            follower_widths: channels per level of the follower; this and the following as in `ConvNeXtUNet`.
            follower_blocks: its blocks per level.
            follower_layers: its transformer layers.
            follower_heads: its attention heads.
            follower_stem: pixels that its first level merges.
        """
        super().__init__()
        self.leader = Fuse4SegLeader(
            modalities=modalities,
            outputs=1,
            width=leader_width,
            blocks=leader_blocks,
            heads=leader_heads,
            feed_forward=leader_feed_forward,
            nodes=leader_nodes,
            haar_levels=haar_levels,
            head=head,
        )
        self.follower = ConvNeXtUNet(
            modalities=1,
            outputs=outputs,
            widths=follower_widths,
            blocks=follower_blocks,
            layers=follower_layers,
            heads=follower_heads,
            stem=follower_stem,
        )
        strides = zip(self.leader.stride, self.follower.stride, strict=True)
        self.stride = tuple(math.lcm(*pair) for pair in strides)

    def forward(
        self, images: Float[Tensor, "batch modality x y 1"], presence: Bool[Tensor, "batch modality x y 1"]
    ) -> Float[Tensor, "batch channel x y 1"]:
        """Return the follower's logits of the fused image.

        Args:
            images: (B, M, X, Y, 1) on a display scale of 0 to 1; X and Y are multiples of `stride`.
            presence: (B, M, X, Y, 1); where it is False the image is ignored.
        """
        return self.follower(self.fuse(images, presence), presence.any(dim=1, keepdim=True))

    def fuse(
        self, images: Float[Tensor, "batch modality x y 1"], presence: Bool[Tensor, "batch modality x y 1"]
    ) -> Float[Tensor, "batch 1 x y 1"]:
        """Return the leader's image; arguments as for `forward`."""
        return self.leader(images, presence)

    def prior(
        self, images: Float[Tensor, "batch modality x y 1"], presence: Bool[Tensor, "batch modality x y 1"]
    ) -> Float[Tensor, "batch 1 x y 1"]:
        """Return the image of stage 1, the mean of the present modalities; arguments as for `forward`."""
        return self.leader.prior(images, presence)
