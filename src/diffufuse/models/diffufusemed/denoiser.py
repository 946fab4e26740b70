"""The denoiser of one level: noisy tokens of all modalities and their times to velocities (Eq. 8)."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.layers.conditioning import TimeEmbedding
from diffufuse.models.layers.diffusion import clean_of, step_back
from diffufuse.models.pyramid import CONVOLUTION


class Denoiser(nn.Module):
    """Predict the velocity of every modality's tokens, with one network conditioned on the modality.

    The context C of Eq. 8 has a cost linear in the number of tokens: a depthwise convolution within a modality, and
    across modalities the mean of the other present modalities' tokens at the same position and over the whole patch.
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
        present: Bool[Tensor, "batch modality"],
    ) -> Float[Tensor, "batch modality width *grid"]:
        """Return the velocity v of every token, which is undefined for absent modalities.

        Args:
            noisy: tokens at their times, of unit variance; those of absent modalities do not influence the others.
            time: one per sample and modality, in [0, T].
            present: which modalities are present.
        """
        embedding = self.time(time) + self.modality  # (B, M, D)
        tokens = noisy
        for block in self.blocks:
            tokens = block(tokens, embedding, present)
        batch = noisy.shape[0]
        return rearrange(self.out(rearrange(tokens, "b m d ... -> (b m) d ...")), "(b m) d ... -> b m d ...", b=batch)


class DenoiserBlock(nn.Module):
    """Depthwise convolution, then an MLP on each token and its context, modulated by time and modality.

    The modulation is a shift, scale and gate from the embedding, the gate initialized at zero (Peebles and Xie, ICCV
    2023, arXiv 2212.09748); depthwise convolution and MLP are those of ConvNeXt (arXiv 2201.03545).
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
        embedding: Float[Tensor, "batch modality width"],
        present: Bool[Tensor, "batch modality"],
    ) -> Float[Tensor, "batch modality width *grid"]:
        """Return the tokens plus the gated residual."""
        batch, dims = tokens.shape[0], tokens.ndim - 3
        shift, scale, gate = (
            rearrange(part, "b m d -> (b m) d" + " 1" * dims)
            for part in self.steer(nn.functional.silu(embedding)).chunk(3, dim=-1)
        )
        flat, others = (
            rearrange(part, "b m d ... -> (b m) d ...") for part in (tokens, mean_of_others(tokens, present))
        )
        overall = self.everywhere(others.flatten(2).mean(dim=2))[(...,) + (None,) * dims]
        inner = (self.around(flat) + self.across(others) + overall) * (1 + scale) + shift
        return rearrange(flat + gate * self.perceptron(inner), "(b m) d ... -> b m d ...", b=batch)


def mean_of_others(
    tokens: Float[Tensor, "batch modality width *grid"], present: Bool[Tensor, "batch modality"]
) -> Float[Tensor, "batch modality width *grid"]:
    """Return for each modality the mean of the other present ones at the same position; 0 if there is none."""
    weight = present.to(tokens.dtype)[(...,) + (None,) * (tokens.ndim - 2)]
    masked = torch.where(weight > 0, tokens, 0.0)
    others = weight.sum(dim=1, keepdim=True) - weight
    return (masked.sum(dim=1, keepdim=True) - masked) / others.clamp(min=1.0)


def denoise(
    denoiser: Denoiser,
    noisy: Float[Tensor, "batch modality width *grid"],
    start: Float[Tensor, "batch modality"],
    present: Bool[Tensor, "batch modality"],
    *,
    steps: int,
) -> Float[Tensor, "batch modality width *grid"]:
    """Denoise tokens in deterministic steps of equal length from the start time to 0.

    Args:
        denoiser: predicts the velocity.
        noisy: tokens at their start times.
        start: one per sample and modality, in [0, T]; where it is 0 the tokens are unchanged.
        present: which modalities are present.
        steps: number of steps, at least 1.
    """
    on_grid = (...,) + (None,) * (noisy.ndim - 2)
    for done in range(steps):
        time, earlier = (start * (1 - part / steps) for part in (done, done + 1))
        velocity = denoiser(noisy, time, present)
        noisy = (
            clean_of(noisy, velocity, time[on_grid])
            if done == steps - 1
            else step_back(noisy, velocity, time[on_grid], earlier[on_grid])
        )
    return noisy
