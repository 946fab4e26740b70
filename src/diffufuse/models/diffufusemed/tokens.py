"""Features of an encoder as tokens that diffusion can work on."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

MOMENTUM = 0.02
SMALLEST_VARIANCE = 1e-4


class TokenNorm(nn.Module):
    """Mean 0 and variance 1 of every feature of every modality over all patches, by running moments.

    Diffusion assumes tokens of unit variance. A learned scale could grow until any noise is trivial, so there is none;
    and the moments are those of the whole training, not of the patch at hand, so that what is constant over a patch,
    like the height of an uptake, is kept, and noise makes a patch's variance larger than 1 instead of its signal
    smaller. Only places count at which the modality was acquired.
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
        """Tokens; in training the moments learn from them first.

        Args:
            features: of the encoders.
            inside: where each modality was acquired.
        """
        if self.training:
            self._learn(features.detach(), inside)
        return torch.stack([self.scaled(features[:, m], m) for m in range(features.shape[1])], dim=1)

    def scaled(self, features: Float[Tensor, "batch width *grid"], modality: int) -> Float[Tensor, "batch width *grid"]:
        """Tokens of one modality, by the moments as they are."""
        on_grid = (slice(None),) + (None,) * (features.ndim - 2)
        scale = torch.rsqrt(self.variance[modality] + SMALLEST_VARIANCE)
        return (features - self.mean[modality][on_grid]) * scale[on_grid]

    def _learn(self, features: Tensor, inside: Tensor) -> None:
        weight = inside[:, :, None].to(features.dtype)
        over = (0, *range(3, features.ndim))
        count = weight.sum(dim=over)  # (M, 1)
        mean = (features * weight).sum(dim=over) / count.clamp(min=1)
        centered = features - mean.view(1, *mean.shape, *(1,) * (features.ndim - 3))
        variance = (centered.square() * weight).sum(dim=over) / count.clamp(min=1)
        # the first patches count fully, as in a plain mean, until the running one is the slower
        self.seen += (count[:, 0] > 0).to(self.seen)
        rate = torch.where(count > 0, torch.clamp(1 / self.seen.clamp(min=1), min=MOMENTUM)[:, None], 0.0)
        self.mean += rate * (mean.float() - self.mean)
        self.variance += rate * (variance.float() - self.variance)


def inside_at(
    presence: Bool[Tensor, "batch modality x y z"], features: Float[Tensor, "batch modality width *grid"]
) -> Bool[Tensor, "batch modality *grid"]:
    """Where each modality was acquired, on the grid of a level: at a place if anywhere within it.

    Args:
        presence: at full resolution; of all slices that the network reads.
        features: of the level.
    """
    grid = features.shape[3:]
    if len(grid) == 2:
        return functional.adaptive_max_pool2d(presence.any(dim=4).float(), grid) > 0
    pooled = functional.adaptive_max_pool3d(rearrange(presence.float(), "b m x y z -> (b m) 1 x y z"), grid)
    return rearrange(pooled, "(b m) 1 x y z -> b m x y z", b=presence.shape[0]) > 0
