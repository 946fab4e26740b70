"""DG-CMT: attention across modalities that knows the time and the reliability of each (Eqs. 14 to 18)."""

import math
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.diffufusemed.conditioning import TimeEmbedding, place_embedding

TimeOn = Literal["queries and keys", "keys", "off"]


class CrossModalBlock(nn.Module):
    """One DG-CMT block: attention over the tokens of all modalities, then a perceptron on each token.

    Normalization comes before each part (Eq. 18 has it after; the pre-norm form trains more stably). Time is added to
    queries and keys: added to the keys alone and equal for all modalities it shifts all logits of a query alike, which
    the softmax ignores, so the paper's Eq. 15 is without effect; that form is kept as `keys`.
    Reliability enters as log(n w_m) on the logits of modality m's keys, n being the number of present modalities:
    uniform gates change nothing, and a gate of zero hides a modality. Multiplying the tokens by w_m (Eq. 13) would be
    undone by the normalization.
    """

    def __init__(self, width: int, *, head_width: int, ffn: int, window: int, dropout: float, time_on: TimeOn) -> None:
        """Build the block.

        Args:
            width: of a token, D.
            head_width: of an attention head.
            ffn: width of the perceptron in units of D.
            window: tokens per axis that attend to each other: 0 for all, 1 for each place by itself.
            dropout: after attention and perceptron.
            time_on: what the time embedding is added to.
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
        """Tokens after attention and perceptron.

        Args:
            tokens: of all modalities.
            time: embedding of each modality's time.
            identity: embedding of place and modality.
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
    """The DG-CMT of one level: a stack of blocks, with embeddings of time, place and modality."""

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
        there: Bool[Tensor, "batch modality"],
        gates: Float[Tensor, "batch modality"],
    ) -> Float[Tensor, "batch modality width *grid"]:
        """Tokens that have seen the other modalities; an absent one is seen by none.

        Args:
            tokens: denoised, of all modalities.
            time: from which time each modality was denoised, in [0, T].
            there: which modalities are present.
            gates: w_m, sum 1 over the present modalities.
        """
        grid, width = tuple(tokens.shape[3:]), tokens.shape[2]
        place = place_embedding(grid, width, device=tokens.device)
        identity = place + self.modality[(slice(None),) + (None,) * len(grid)]
        told = self.time(time) if self.time is not None else tokens.new_zeros(*tokens.shape[:3])
        bias = gate_bias(gates, there)
        tokens = rearrange(tokens, "b m d ... -> b m ... d")
        for block in self.blocks:
            tokens = block(tokens, told, identity, bias)
        return rearrange(tokens, "b m ... d -> b m d ...")


def gate_bias(
    gates: Float[Tensor, "batch modality"], there: Bool[Tensor, "batch modality"]
) -> Float[Tensor, "batch modality"]:
    """log(n w_m) for the n present modalities, minus infinity for the absent; 0 for all where none is present."""
    count = there.sum(dim=1, keepdim=True)
    logs = torch.log((gates * count).clamp(min=1e-6))
    return torch.where(there, logs, float("-inf")).masked_fill(count == 0, 0.0)


def windowed_attention(
    queries: Float[Tensor, "batch modality *grid width"],
    keys: Float[Tensor, "batch modality *grid width"],
    values: Float[Tensor, "batch modality *grid width"],
    bias: Float[Tensor, "batch modality"],
    *,
    heads: int,
    window: int,
) -> Float[Tensor, "batch modality *grid width"]:
    """Attention among the tokens of all modalities within windows of the grid (Eq. 16).

    The cost is linear in the number of tokens for a fixed window, quadratic for `window` 0, the literal form.

    Args:
        queries: one per token.
        keys: likewise.
        values: likewise.
        bias: added to the logits of a modality's keys; minus infinity hides it.
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
    apart = " ".join(f"({axis} {axis}w)" for axis in axes)
    inside, outside = " ".join(f"{axis}w" for axis in axes), " ".join(axes)
    sizes = {f"{axis}w": edge for axis, edge in zip(axes, size, strict=True)}
    split = f"b m {apart} (h d) -> (b {outside}) h (m {inside}) d"
    q, k, v = (rearrange(F.pad(part, pad), split, h=heads, **sizes) for part in (queries, keys, values))
    mask = F.pad(bias[(...,) + (None,) * len(grid)].expand(*bias.shape, *grid), pad[2:], value=float("-inf"))
    mask = rearrange(mask, f"b m {apart} -> (b {outside}) 1 1 (m {inside})", **sizes)
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype))
    counts = {axis: whole // edge for axis, whole, edge in zip(axes, padded, size, strict=True)}
    joined = rearrange(
        found, f"(b {outside}) h (m {inside}) d -> b m {apart} (h d)", m=bias.shape[1], **sizes, **counts
    )
    return joined[(slice(None), slice(None), *(slice(extent) for extent in grid))]
