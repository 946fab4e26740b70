"""Normalization layers that torch does not have."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from diffufuse.collective import processes, total

MOMENTUM, SMALLEST_VARIANCE = 0.1, 1e-5


class PixelNorm(nn.LayerNorm):
    """Layer normalization over the channels of every pixel."""

    def forward(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return features of mean 0 and variance 1 at every pixel, scaled and shifted."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class BatchNorm(nn.Module):
    """Batch normalization (Ioffe and Szegedy, arXiv 1502.03167) of a layer that is applied at several places.

    All places have one scale and shift, and each has moments of its own: in training every place is normalized by its
    own batch, so that common running moments would fit none of them in evaluation. Where several processes share a
    batch the moments are those of all of it; torch's own layer for that needs GPUs.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int, *, places: int = 1) -> None:
        """Build the layer; its running moments begin at 0 and 1.

        Args:
            width: number of channels.
            places: number of places.
        """
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(places, width))
        self.register_buffer("variance", torch.ones(places, width))

    def forward(
        self, features: Float[Tensor, "batch width *grid"], place: int = 0
    ) -> Float[Tensor, "batch width *grid"]:
        """Return every channel at mean 0 and variance 1, scaled and shifted; in evaluation by the running moments."""
        running = self.mean[place], self.variance[place]
        if self.training and processes() > 1:
            return self._of_all(features, *running)
        return functional.batch_norm(
            features, *running, self.weight, self.bias, self.training, MOMENTUM, SMALLEST_VARIANCE
        )

    def _of_all(self, features: Tensor, running_mean: Tensor, running_variance: Tensor) -> Tensor:
        """The same by the moments of all processes."""
        over, on_grid = (0, *range(2, features.ndim)), (slice(None),) + (None,) * (features.ndim - 2)
        count = total(features.new_tensor(features.numel() / features.shape[1]))
        mean = total(features.sum(dim=over)) / count
        centered = features - mean[on_grid]
        variance = total(centered.square().sum(dim=over)) / count
        running_mean.lerp_(mean.detach(), MOMENTUM)
        running_variance.lerp_(variance.detach() * count / (count - 1), MOMENTUM)
        scale = self.weight * torch.rsqrt(variance + SMALLEST_VARIANCE)
        return centered * scale[on_grid] + self.bias[on_grid]
