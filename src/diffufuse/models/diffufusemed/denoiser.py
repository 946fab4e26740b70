"""The denoiser of one level: from noisy tokens of all modalities and their times to the velocity of each (Eq. 8)."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.diffufusemed.conditioning import TimeEmbedding
from diffufuse.models.diffufusemed.diffusion import clean_of, step_back
from diffufuse.models.pyramid import CONVOLUTION


class Denoiser(nn.Module):
    """Predicts the velocity of every modality's tokens; one network for all modalities, told which by an embedding.

    Context is shared as C in Eq. 8, at a cost linear in the number of tokens: each block looks around within a
    modality by a depthwise convolution, and across modalities by the mean of the other present modalities' tokens at
    the same place and over the whole patch.
    """

    def __init__(self, modalities: int, width: int, *, blocks: int, dims: int) -> None:
        super().__init__()
        self.modality = nn.Parameter(torch.randn(modalities, width) * 0.02)
        self.time = TimeEmbedding(width)
        self.blocks = nn.ModuleList(DenoiserBlock(width, dims=dims) for _ in range(blocks))
        self.out = CONVOLUTION[dims](width, width, 1)
        nn.init.zeros_(self.out.weight)

    def forward(
        self,
        noisy: Float[Tensor, "batch modality width *grid"],
        time: Float[Tensor, "batch modality"],
        there: Bool[Tensor, "batch modality"],
    ) -> Float[Tensor, "batch modality width *grid"]:
        """Velocity v of every token; that of an absent modality means nothing, and influences none.

        Args:
            noisy: tokens at their times, of unit variance; where `there` is False their content has no influence on
                the others.
            time: one per sample and modality, in [0, T].
            there: which modalities are present.
        """
        told = self.time(time) + self.modality  # (B, M, D)
        tokens = noisy
        for block in self.blocks:
            tokens = block(tokens, told, there)
        batch = noisy.shape[0]
        return rearrange(self.out(rearrange(tokens, "b m d ... -> (b m) d ...")), "(b m) d ... -> b m d ...", b=batch)


class DenoiserBlock(nn.Module):
    """Depthwise convolution, then a perceptron on each token and its context, both steered by time and modality.

    Steering is a shift, scale and gate from the embedding, the gate starting at zero (Peebles and Xie, ICCV 2023,
    arXiv 2212.09748); depthwise convolution and perceptron are those of ConvNeXt (arXiv 2201.03545).
    """

    def __init__(self, width: int, *, dims: int) -> None:
        super().__init__()
        convolution = CONVOLUTION[dims]
        self.around = convolution(width, width, 3, padding=1, groups=width)
        self.across = convolution(width, width, 1, bias=False)
        self.everywhere = nn.Linear(width, width)
        self.perceptron = nn.Sequential(convolution(width, 2 * width, 1), nn.GELU(), convolution(2 * width, width, 1))
        self.steer = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.steer.weight)
        nn.init.zeros_(self.steer.bias)

    def forward(
        self,
        tokens: Float[Tensor, "batch modality width *grid"],
        told: Float[Tensor, "batch modality width"],
        there: Bool[Tensor, "batch modality"],
    ) -> Float[Tensor, "batch modality width *grid"]:
        """Tokens with what was learned added to them."""
        batch, dims = tokens.shape[0], tokens.ndim - 3
        shift, scale, gate = (
            rearrange(part, "b m d -> (b m) d" + " 1" * dims)
            for part in self.steer(nn.functional.silu(told)).chunk(3, dim=-1)
        )
        flat, others = (rearrange(part, "b m d ... -> (b m) d ...") for part in (tokens, mean_of_others(tokens, there)))
        overall = self.everywhere(others.flatten(2).mean(dim=2))[(...,) + (None,) * dims]
        inner = (self.around(flat) + self.across(others) + overall) * (1 + scale) + shift
        return rearrange(flat + gate * self.perceptron(inner), "(b m) d ... -> b m d ...", b=batch)


def mean_of_others(
    tokens: Float[Tensor, "batch modality width *grid"], there: Bool[Tensor, "batch modality"]
) -> Float[Tensor, "batch modality width *grid"]:
    """For each modality the mean of the other present ones at the same place; 0 where there is none."""
    weight = there.to(tokens.dtype)[(...,) + (None,) * (tokens.ndim - 2)]
    shown = torch.where(weight > 0, tokens, 0.0)
    others = weight.sum(dim=1, keepdim=True) - weight
    return (shown.sum(dim=1, keepdim=True) - shown) / others.clamp(min=1.0)


def denoise(
    denoiser: Denoiser,
    noisy: Float[Tensor, "batch modality width *grid"],
    start: Float[Tensor, "batch modality"],
    there: Bool[Tensor, "batch modality"],
    *,
    steps: int,
) -> Float[Tensor, "batch modality width *grid"]:
    """Clean tokens in a few deterministic steps of equal length from the start time to 0.

    Args:
        denoiser: predicts the velocity.
        noisy: tokens at their start times.
        start: one per sample and modality, in [0, T]; where it is 0 the tokens come back as they are.
        there: which modalities are present.
        steps: number of steps, at least 1.
    """
    on_grid = (...,) + (None,) * (noisy.ndim - 2)
    for done in range(steps):
        time, earlier = (start * (1 - part / steps) for part in (done, done + 1))
        velocity = denoiser(noisy, time, there)
        noisy = (
            clean_of(noisy, velocity, time[on_grid])
            if done == steps - 1
            else step_back(noisy, velocity, time[on_grid], earlier[on_grid])
        )
    return noisy
