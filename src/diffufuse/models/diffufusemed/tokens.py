"""Normalization of encoder features to tokens for diffusion."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from diffufuse.collective import total

MOMENTUM = 0.02
SMALLEST_VARIANCE = 1e-4


class TokenNorm(nn.Module):
    """Standardize every feature of every modality by running mean and variance over all patches.

    Diffusion assumes tokens of unit variance. There is no learned scale, which could grow until the noise is
    negligible. Running moments, unlike those of a patch, preserve what is constant over a patch, like the level of
    uptake, and noise increases a patch's variance instead of shrinking its signal. Only positions where the modality
    was acquired count.
    """

    mean: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(self, modalities: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(modalities, width))
        self.register_buffer("variance", torch.ones(modalities, width))
        self.register_buffer("seen", torch.zeros(modalities))

    def forward(
        self, features: Float[Tensor, "batch modality width *grid"], inside: Bool[Tensor, "batch modality *grid"]
    ) -> Float[Tensor, "batch modality width *grid"]:
        """Return the tokens; in training mode the moments are updated first.

        Args:
            features: encoder features.
            inside: where each modality was acquired.
        """
        if self.training:
            self._update_moments(features.detach(), inside)
        return torch.stack([self.scaled(features[:, m], m) for m in range(features.shape[1])], dim=1)

    def scaled(self, features: Float[Tensor, "batch width *grid"], modality: int) -> Float[Tensor, "batch width *grid"]:
        """Return the tokens of one modality, by the current moments."""
        on_grid = (slice(None),) + (None,) * (features.ndim - 2)
        scale = torch.rsqrt(self.variance[modality] + SMALLEST_VARIANCE)
        return (features - self.mean[modality][on_grid]) * scale[on_grid]

    def _update_moments(self, features: Tensor, inside: Tensor) -> None:
        weight = inside[:, :, None].to(features.dtype)
        over = (0, *range(3, features.ndim))
        count = total(weight.sum(dim=over))  # (M, 1)
        mean = total((features * weight).sum(dim=over)) / count.clamp(min=1)
        centered = features - mean.view(1, *mean.shape, *(1,) * (features.ndim - 3))
        variance = total((centered.square() * weight).sum(dim=over)) / count.clamp(min=1)
        # a cumulative mean at first, until its rate falls below the momentum
        self.seen += (count[:, 0] > 0).to(self.seen)
        rate = torch.where(count > 0, torch.clamp(1 / self.seen.clamp(min=1), min=MOMENTUM)[:, None], 0.0)
        self.mean += rate * (mean.float() - self.mean)
        self.variance += rate * (variance.float() - self.variance)


def inside_at(
    presence: Bool[Tensor, "batch modality x y z"], features: Float[Tensor, "batch modality width *grid"]
) -> Bool[Tensor, "batch modality *grid"]:
    """Return where each modality was acquired, on the grid of a level: the maximum over each cell.

    Args:
        presence: at full resolution, for all input slices.
        features: features of the level.
    """
    grid = features.shape[3:]
    if len(grid) == 2:
        return functional.adaptive_max_pool2d(presence.any(dim=4).float(), grid) > 0
    pooled = functional.adaptive_max_pool3d(rearrange(presence.float(), "b m x y z -> (b m) 1 x y z"), grid)
    return rearrange(pooled, "(b m) 1 x y z -> b m x y z", b=presence.shape[0]) > 0
