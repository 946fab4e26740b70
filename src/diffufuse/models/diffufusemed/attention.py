"""DG-CMT: cross-modal attention conditioned on diffusion time and reliability (Eqs. 14 to 18)."""

import math
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.layers.conditioning import TimeEmbedding, place_embedding

TimeOn = Literal["queries and keys", "keys", "off"]


class CrossModalBlock(nn.Module):
    """One DG-CMT block: attention over the tokens of all modalities, then an MLP on each token.

    The block is pre-norm (Eq. 18 is post-norm, which trains less stably). The time embedding is added to queries and
    keys: added to the keys only and equal for all modalities, as in Eq. 15, it shifts all logits of a query equally,
    which the softmax cancels; that form is available as `keys`. Reliability is added to the logits of modality m's keys
    as log(n w_m), with n the number of present modalities: uniform gates have no effect, and a gate of zero masks a
    modality. Multiplying the tokens by w_m (Eq. 13) would be undone by the normalization.
    """

    def __init__(self, width: int, *, head_width: int, ffn: int, window: int, dropout: float, time_on: TimeOn) -> None:
        """Build the block.

        Args:
            width: token dimension D.
            head_width: dimension of an attention head.
            ffn: hidden dimension of the MLP in units of D.
            window: attention window in tokens per axis: 0 for the whole grid, 1 for single positions.
            dropout: dropout rate after attention and MLP.
            time_on: where the time embedding is added.
        """
        super().__init__()
        self.heads, self.window, self.time_on = max(width // head_width, 1), window, time_on
        self.before_attention, self.before_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries, self.keys, self.values = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        last = nn.Linear(ffn * width, width)
        nn.init.zeros_(last.weight)
        self.perceptron = nn.Sequential(nn.Linear(width, ffn * width), nn.GELU(), last)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Float[Tensor, "batch modality *grid width"],
        time: Float[Tensor, "batch modality width"],
        identity: Float[Tensor, "modality *grid width"],
        bias: Float[Tensor, "batch modality"],
    ) -> Float[Tensor, "batch modality *grid width"]:
        """Return the tokens after attention and MLP.

        Args:
            tokens: tokens of all modalities.
            time: time embedding of each modality.
            identity: embedding of position and modality.
            bias: added to the logits of a modality's keys.
        """
        on_grid = (...,) + (None,) * (tokens.ndim - 3) + (slice(None),)
        normed = self.before_attention(tokens)
        queries = keys = normed + identity
        if self.time_on != "off":
            keys = keys + time[on_grid]
        if self.time_on == "queries and keys":
            queries = keys
        parts = (self.queries(queries), self.keys(keys), self.values(normed))
        attended = windowed_attention(*parts, bias, heads=self.heads, window=self.window)
        tokens = tokens + self.dropout(self.out(attended))
        return tokens + self.dropout(self.perceptron(self.before_perceptron(tokens)))


class CrossModalTransformer(nn.Module):
    """The DG-CMT of one level: a stack of blocks with embeddings of time, position and modality."""

    def __init__(self, modalities: int, width: int, *, blocks: int, **settings: object) -> None:
        """Build the stack; `settings` are those of `CrossModalBlock`."""
        super().__init__()
        self.modality = nn.Parameter(torch.randn(modalities, width) * 0.02)
        self.time = TimeEmbedding(width) if settings["time_on"] != "off" else None
        self.blocks = nn.ModuleList(CrossModalBlock(width, **settings) for _ in range(blocks))  # type: ignore[arg-type]

    def forward(
        self,
        tokens: Float[Tensor, "batch modality width *grid"],
        time: Float[Tensor, "batch modality"],
        present: Bool[Tensor, "batch modality"],
        gates: Float[Tensor, "batch modality"],
    ) -> Float[Tensor, "batch modality width *grid"]:
        """Return the tokens after cross-modal attention; absent modalities are masked.

        Args:
            tokens: denoised tokens of all modalities.
            time: start time of each modality's denoising, in [0, T].
            present: which modalities are present.
            gates: w_m, sum 1 over the present modalities.
        """
        grid, width = tuple(tokens.shape[3:]), tokens.shape[2]
        position = place_embedding(grid, width, device=tokens.device)
        identity = position + self.modality[(slice(None),) + (None,) * len(grid)]
        time_embedding = self.time(time) if self.time is not None else tokens.new_zeros(*tokens.shape[:3])
        bias = gate_bias(gates, present)
        tokens = rearrange(tokens, "b m d ... -> b m ... d")
        for block in self.blocks:
            tokens = block(tokens, time_embedding, identity, bias)
        return rearrange(tokens, "b m ... d -> b m d ...")


def gate_bias(
    gates: Float[Tensor, "batch modality"], present: Bool[Tensor, "batch modality"]
) -> Float[Tensor, "batch modality"]:
    """Return log(n w_m) for the n present modalities, minus infinity for absent ones; 0 if none is present."""
    count = present.sum(dim=1, keepdim=True)
    logs = torch.log((gates * count).clamp(min=1e-6))
    return torch.where(present, logs, float("-inf")).masked_fill(count == 0, 0.0)


def windowed_attention(
    queries: Float[Tensor, "batch modality *grid width"],
    keys: Float[Tensor, "batch modality *grid width"],
    values: Float[Tensor, "batch modality *grid width"],
    bias: Float[Tensor, "batch modality"],
    *,
    heads: int,
    window: int,
) -> Float[Tensor, "batch modality *grid width"]:
    """Compute attention over the tokens of all modalities within windows of the grid (Eq. 16).

    The cost is linear in the number of tokens for a fixed window, quadratic for `window` 0, as in the paper.

    Args:
        queries: one query per token.
        keys: one key per token.
        values: one value per token.
        bias: added to the logits of a modality's keys; minus infinity masks it.
        heads: number of attention heads.
        window: tokens per axis in a window, 0 for the whole grid.
    """
    grid = tuple(queries.shape[2:-1])
    size = tuple(min(window, extent) or extent for extent in grid)
    padded = tuple(math.ceil(extent / edge) * edge for extent, edge in zip(grid, size, strict=True))
    pad = [0, 0] + [
        side for extent, whole in zip(grid[::-1], padded[::-1], strict=True) for side in (0, whole - extent)
    ]
    axes = "xyz"[: len(grid)]
    split_axes = " ".join(f"({axis} {axis}w)" for axis in axes)
    inside, outside = " ".join(f"{axis}w" for axis in axes), " ".join(axes)
    sizes = {f"{axis}w": edge for axis, edge in zip(axes, size, strict=True)}
    split = f"b m {split_axes} (h d) -> (b {outside}) h (m {inside}) d"
    q, k, v = (rearrange(F.pad(part, pad), split, h=heads, **sizes) for part in (queries, keys, values))
    mask = F.pad(bias[(...,) + (None,) * len(grid)].expand(*bias.shape, *grid), pad[2:], value=float("-inf"))
    mask = rearrange(mask, f"b m {split_axes} -> (b {outside}) 1 1 (m {inside})", **sizes)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype))
    counts = {axis: whole // edge for axis, whole, edge in zip(axes, padded, size, strict=True)}
    merged = rearrange(
        attended, f"(b {outside}) h (m {inside}) d -> b m {split_axes} (h d)", m=bias.shape[1], **sizes, **counts
    )
    return merged[(slice(None), slice(None), *(slice(extent) for extent in grid))]
