"""Normalization layers that torch does not have."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffufuse.collective import processes, total


class PixelNorm(nn.LayerNorm):
    """Layer normalization over the channels of every pixel."""

    def forward(self, features: Float[Tensor, "batch width x y"]) -> Float[Tensor, "batch width x y"]:
        """Return features of mean 0 and variance 1 at every pixel, scaled and shifted."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalization over samples and positions, in training over those of all processes that share a batch.

    So a training has the same statistics however many processes share it; torch's own layer for that needs GPUs.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Positions may have any number of axes."""

    def forward(self, features: Float[Tensor, "batch width *grid"]) -> Float[Tensor, "batch width *grid"]:
        """Return every channel at mean 0 and variance 1, scaled and shifted; with the running moments in evaluation."""
        if not self.training or processes() == 1:
            return super().forward(features)
        over, on_grid = (0, *range(2, features.ndim)), (slice(None),) + (None,) * (features.ndim - 2)
        count = total(torch.tensor(features.numel() / features.shape[1], device=features.device))
        mean = total(features.sum(dim=over)) / count
        centered = features - mean[on_grid]
        variance = total(centered.square().sum(dim=over)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        normed = centered * torch.rsqrt(variance + self.eps)[on_grid]
        return normed * self.weight[on_grid] + self.bias[on_grid]

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running moments; the variance is that of the population, as in torch."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        for running, moment in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None and self.momentum is not None
            running.lerp_(moment.to(running), self.momentum)
