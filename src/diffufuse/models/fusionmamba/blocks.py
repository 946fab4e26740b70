"""The block of FusionMamba's encoder and decoder."""

from jaxtyping import Float
from torch import Tensor, nn

from diffufuse.models.fusionmamba.dynamic import ChannelAttention, DescriptiveConvolution
from diffufuse.models.layers.norms import PixelNorm
from diffufuse.models.layers.ss2d import SelectiveScan2d


class DynamicBlock(nn.Module):
    """A selective scan beside dynamic convolution with channel attention, then a feed-forward layer; both residual."""

    def __init__(self, width: int, *, states: int, feed_forward: int, drop_path: float) -> None:
        """Build the block.

        Args:
            width: number of channels.
            states: number of states of every scanned channel.
            feed_forward: hidden channels of the feed-forward layer in units of `width`.
            drop_path: how often a residual is left out in training, for a sample.
        """
        from monai.networks.layers import DropPath  # imported here, as MONAI loads slowly

        super().__init__()
        hidden = feed_forward * width
        self.before_scan, self.before_feed_forward = PixelNorm(width), PixelNorm(width)
        self.scan = SelectiveScan2d(width, states=states)
        self.local = nn.Sequential(
            DescriptiveConvolution(width), nn.GELU(), nn.Conv2d(width, width, 3, padding=1), ChannelAttention()
        )
        self.feed_forward = nn.Sequential(nn.Conv2d(width, hidden, 1), nn.GELU(), nn.Conv2d(hidden, width, 1))
        self.drop_path = DropPath(drop_path)

    def forward(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return the features after both residuals."""
        normalized = self.before_scan(features)
        features = features + self.drop_path(self.scan(normalized) + self.local(normalized))
        return features + self.drop_path(self.feed_forward(self.before_feed_forward(features)))
