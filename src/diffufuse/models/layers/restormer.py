"""Restormer's transformer block: attention between channels, and a gated feed-forward layer.

Zamir et al.: Restormer: Efficient Transformer for High-Resolution Image Restoration, CVPR 2022 (arXiv 2111.09881),
through MONAI's implementation of its two parts.
"""

from jaxtyping import Float
from torch import Tensor, nn

from diffufuse.models.layers.norms import PixelNorm


class AttentionBlock(nn.Module):
    """Attention between channels and a gated feed-forward layer, each added to its input.

    Normalization is per pixel, as published; MONAI's own block has instance normalization, which would remove what is
    constant over an image, and whose statistics depend on how much background is in the field of view.
    """

    def __init__(self, width: int, *, heads: int, feed_forward: float) -> None:
        """Build the block.

        Args:
            width: number of channels, a multiple of `heads`.
            heads: number of attention heads.
            feed_forward: hidden channels of the feed-forward layer in units of `width`.
        """
        from monai.networks.blocks.cablock import CABlock, FeedForward  # imported here, as MONAI loads slowly

        super().__init__()
        self.before_attention, self.before_feed_forward = PixelNorm(width), PixelNorm(width)
        self.attention = CABlock(2, width, heads, bias=False)
        self.feed_forward = FeedForward(2, width, feed_forward, bias=False)

    def forward(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return the features after both layers."""
        features = features + self.attention(self.before_attention(features))
        return features + self.feed_forward(self.before_feed_forward(features))

    def change_nothing(self) -> None:
        """Set the weights so that the block gives what it is given; it can learn from there."""
        for layer in (self.attention, self.feed_forward):
            for weight in layer.project_out.parameters():
                nn.init.zeros_(weight)


class DenseAttentionBlock(AttentionBlock):
    """The same, but queries, keys and values are of 3x3 convolutions over all channels: the base unit of CDDFuse.

    In its feed-forward layer, of `width` hidden channels, pairs are mixed where those of `AttentionBlock` stay apart.
    Zhao et al.: CDDFuse, CVPR 2023 (arXiv 2211.14461).
    """

    def __init__(self, width: int, *, heads: int) -> None:
        """Build the block; arguments as for `AttentionBlock`."""
        from monai.networks.blocks.convolutions import Convolution

        super().__init__(width, heads=heads, feed_forward=1.0)
        self.attention.qkv_dwconv = Convolution(2, 3 * width, 3 * width, bias=False, conv_only=True)
        self.feed_forward.dwconv = Convolution(2, 2 * width, 2 * width, groups=width, bias=False, conv_only=True)


class AttentionBlocks(nn.Sequential):
    """Several blocks in a row."""

    def __init__(self, width: int, *, blocks: int, heads: int, feed_forward: float) -> None:
        """Build `blocks` blocks; the other arguments as for `AttentionBlock`."""
        super().__init__(*(AttentionBlock(width, heads=heads, feed_forward=feed_forward) for _ in range(blocks)))
