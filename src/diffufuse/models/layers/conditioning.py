"""Embeddings of diffusion time and position."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffufuse.models.layers.diffusion import T

LONGEST_WAVE = 10_000.0


def waves(position: Float[Tensor, "*shape"], width: int) -> Float[Tensor, "*shape width"]:
    """Return sines and cosines of a position at `width` / 2 frequencies (Vaswani et al., arXiv 1706.03762)."""
    half = max(width // 2, 1)
    frequency = torch.exp(torch.arange(half, device=position.device) * (-math.log(LONGEST_WAVE) / half))
    angle = position[..., None] * frequency
    return nn.functional.pad(torch.cat([angle.sin(), angle.cos()], dim=-1), (0, width - 2 * half))


def place_embedding(grid: tuple[int, ...], width: int, *, device: torch.device) -> Float[Tensor, "*grid width"]:
    """Return the sinusoidal position embedding P of Eq. 6, for any grid size."""
    per_axis = width // len(grid)
    parts = []
    for axis, size in enumerate(grid):
        along = waves(torch.arange(size, device=device, dtype=torch.float32), per_axis)
        parts.append(along[(None,) * axis + (slice(None),) + (None,) * (len(grid) - axis - 1)].expand(*grid, per_axis))
    embedding = torch.cat(parts, dim=-1)
    return nn.functional.pad(embedding, (0, width - embedding.shape[-1]))


class TimeEmbedding(nn.Module):
    """Time embedding gamma(t) of the paper: sines and cosines of the time through an MLP."""

    def __init__(self, width: int, *, hidden: int | None = None) -> None:
        """Build the embedding.

        Args:
            width: of the vectors.
            hidden: width between the two layers of the MLP; without, that of the vectors.
        """
        super().__init__()
        self.width, hidden = width, hidden or width
        self.perceptron = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, width))

    def forward(self, time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape width"]:
        """Return one vector per time; times in [0, T]."""
        return self.perceptron(waves(time * (1000.0 / T), self.width))
