"""U-Net that reads noisy images and the time of their noise: the network of every diffusion fuser.

Its blocks are those of SR3 (Saharia et al., 2021, arXiv 2104.07636): residual blocks of group normalization, Swish and
convolution, to which the embedding of the time is added; strided convolutions down; nearest neighbors and a convolution
up. Whether it answers with the clean image, the noise or the velocity is up to its caller.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from diffufuse.models.layers.conditioning import TimeEmbedding


@dataclass(frozen=True)
class Sizes:
    """Sizes of the network.

    Attributes:
        width: channels of the embedding of the time and, times its multiplier, of a level; a multiple of `groups`.
        multipliers: one per level, from fine to coarse; the first is at full size, each other one halves it.
        blocks: residual blocks per level of the encoder; a level of the decoder has one more.
        groups: groups of group normalization.
        dropout: share of the features that each residual block drops in training.
        attention: levels, counted from 0, in which each block is followed by attention between pixels; so is always the
            first of the two blocks between encoder and decoder.
    """

    width: int
    multipliers: Sequence[int]
    blocks: int = 2
    groups: int = 32
    dropout: float = 0.2
    attention: Sequence[int] = ()

    @property
    def widths(self) -> list[int]:
        """Channels of each level, from fine to coarse."""
        return [self.width * multiplier for multiplier in self.multipliers]

    @property
    def stride(self) -> tuple[int, int, int]:
        """Of which the sizes of an image are multiples."""
        side: int = 2 ** (len(self.multipliers) - 1)
        return (side, side, 1)


class DiffusionUNet(nn.Module):
    """The network; its weights are orthogonal at first, its biases 0."""

    def __init__(self, sizes: Sizes, *, inputs: int, outputs: int) -> None:
        """Build the network.

        Args:
            sizes: of its parts.
            inputs: channels of the noisy images, with all that they are conditioned on.
            outputs: channels of the answer.
        """
        super().__init__()
        self.sizes, coarsest = sizes, sizes.widths[-1]
        self.time = TimeEmbedding(sizes.width, hidden=4 * sizes.width)
        self.encoder = _Encoder(inputs, sizes)
        self.middle = nn.ModuleList([_Block(coarsest, coarsest, sizes, attends=attends) for attends in (True, False)])
        self.decoder = _Decoder(self.encoder.widths, sizes)
        self.head = nn.Sequential(
            nn.GroupNorm(sizes.groups, sizes.widths[0]), nn.SiLU(), nn.Conv2d(sizes.widths[0], outputs, 3, padding=1)
        )
        self.apply(_orthogonal)

    def forward(
        self, images: Float[Tensor, "batch input x y"], time: Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch output x y"]:
        """Return the answer.

        Args:
            images: (B, I, X, Y); X and Y are multiples of `sizes.stride`.
            time: of the noise of each, in [0, T].
        """
        *_, features = self._decoded(images, time)
        return self.head(features)

    def features(
        self, images: Float[Tensor, "batch input x y"], time: Float[Tensor, "batch"]
    ) -> list[Float[Tensor, "batch width level_x level_y"]]:
        """Return the output of the first decoder block of every level, from coarse to fine; arguments as `forward`."""
        each = self.sizes.blocks + 1
        until = each * (len(self.sizes.multipliers) - 1) + 1  # what comes later is not computed
        return list(islice(self._decoded(images, time), 0, until, each))

    def _decoded(self, images: Tensor, time: Tensor) -> Iterator[Tensor]:
        """The output of each block of the decoder."""
        embedded = self.time(time)
        kept = self.encoder(images, embedded)
        features = kept[-1]
        for block in self.middle:
            features = block(features, embedded)
        return self.decoder.outputs(features, kept, embedded)


class _Encoder(nn.Module):
    """Blocks and strided convolutions, of which every output is kept for the decoder.

    Attributes:
        widths: channels of what is kept.
    """

    def __init__(self, inputs: int, sizes: Sizes) -> None:
        super().__init__()
        self.stem = nn.Conv2d(inputs, sizes.width, 3, padding=1)
        self.widths, self.levels, self.halvings = [sizes.width], nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(sizes.widths):
            if level:
                before = self.widths[-1]
                self.halvings.append(nn.Conv2d(before, before, 3, stride=2, padding=1))
                self.widths.append(before)
            blocks = nn.ModuleList()
            for _ in range(sizes.blocks):
                blocks.append(_Block(self.widths[-1], width, sizes, attends=level in sizes.attention))
                self.widths.append(width)
            self.levels.append(blocks)

    def forward(self, images: Tensor, time: Tensor) -> list[Tensor]:
        kept = [self.stem(images)]
        for level, blocks in enumerate(self.levels):
            if level:
                kept.append(self.halvings[level - 1](kept[-1]))
            for block in blocks.children():
                kept.append(block(kept[-1], time))
        return kept


class _Decoder(nn.Module):
    """Blocks that each read one output of the encoder too, the last first."""

    def __init__(self, kept: Sequence[int], sizes: Sizes) -> None:
        super().__init__()
        left, before = list(kept), sizes.widths[-1]
        self.levels, self.doublings = nn.ModuleList(), nn.ModuleList()
        for level, width in reversed(list(enumerate(sizes.widths))):
            if self.levels:
                self.doublings.append(nn.Conv2d(before, before, 3, padding=1))
            blocks = nn.ModuleList()
            for _ in range(sizes.blocks + 1):
                blocks.append(_Block(before + left.pop(), width, sizes, attends=level in sizes.attention))
                before = width
            self.levels.append(blocks)

    def outputs(self, features: Tensor, kept: Sequence[Tensor], time: Tensor) -> Iterator[Tensor]:
        left = list(kept)
        for level, blocks in enumerate(self.levels):
            if level:
                features = self.doublings[level - 1](functional.interpolate(features, scale_factor=2.0))
            for block in blocks.children():
                features = block(torch.cat([features, left.pop()], dim=1), time)
                yield features


class _Block(nn.Module):
    """Two convolutions, between which the embedding of the time is added, around them a residual connection."""

    def __init__(self, inputs: int, outputs: int, sizes: Sizes, *, attends: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(sizes.groups, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.shift = nn.Linear(sizes.width, outputs)
        self.second = nn.Sequential(
            nn.GroupNorm(sizes.groups, outputs),
            nn.SiLU(),
            nn.Dropout(sizes.dropout),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.around = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.attention = _Attention(outputs, sizes.groups) if attends else nn.Identity()

    def forward(self, features: Tensor, time: Tensor) -> Tensor:
        changed = self.second(self.first(features) + self.shift(time)[..., None, None])
        return self.attention(self.around(features) + changed)


class _Attention(nn.Module):
    """Attention of one head between all pixels, added to its input."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width)
        self.queries_keys_values = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        tokens = self.queries_keys_values(self.norm(features)).flatten(2).transpose(1, 2)
        attended = functional.scaled_dot_product_attention(*tokens.chunk(3, dim=2))
        return features + self.out(attended.transpose(1, 2).reshape(features.shape))


def _orthogonal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.orthogonal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
