"""TransBTS: a 3-D CNN with a transformer on its coarsest feature maps.

Wang et al.: TransBTS: Multimodal Brain Tumor Segmentation Using Transformer, MICCAI 2021 (arXiv 2103.04430);
implemented from its description. At the published sizes (4 images, 4 outputs, patches of 128^3) the network without its
presence channels has 32.99 million parameters, as published.

Specified in the paper: widths, depths and heads; pre-activation residual blocks with group normalization; stride-2
convolutions; learned positions; the convolution to the transformer's width and back; skips by concatenation.
Inferred: numbers of residual blocks (1, 2, 2, 4; one per decoder level); an upsampling made of a 1x1x1 convolution, a
transposed one, and a 1x1x1 one after concatenation; GELU; dropout of whole channels behind the first convolution; and
a pointwise linear layer of the transformer's width behind the embedding convolution, without which 0.26 million
parameters are missing (a linear layer on a convolution leaves what can be represented unchanged).
Intended differences: the output is logits, where the published network applies a softmax and its predictor another;
position embeddings are interpolated, so that any patch size that is a multiple of the stride is possible; the decoder
also uses group normalization, because batches are small; presence is a further input.
"""

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional


class TransBTS(nn.Module):
    """3-D CNN encoder, transformer on the coarsest feature maps, and decoder with skip connections."""

    dims = 3

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        channels: Sequence[int] = (16, 32, 64, 128),
        strides: Sequence[Sequence[int]] = ((2, 2, 2), (2, 2, 2), (2, 2, 2)),
        blocks: Sequence[int] = (1, 2, 2, 4),
        groups: int = 8,
        positions: Sequence[int] = (16, 16, 16),
        width: int = 512,
        layers: int = 4,
        heads: int = 8,
        feed_forward: int = 4096,
        dropout: float = 0.1,
    ) -> None:
        """Build the network; the defaults are the published sizes.

        Args:
            modalities: number of input images M.
            outputs: number of output channels C.
            channels: channels per level, from fine to coarse; multiples of `groups`.
            strides: stride from each level to the next, along x, y and z.
            blocks: number of residual blocks per level of the encoder.
            groups: number of groups of group normalization; less than the number of channels.
            positions: grid size of the position embeddings, best the training patch size divided by the stride.
            width: token dimension.
            layers: number of transformer layers.
            heads: number of attention heads.
            feed_forward: hidden dimension of the feed-forward layers.
            dropout: dropout rate in the transformer and after the position embeddings.
        """
        super().__init__()
        self.stride = tuple(math.prod(axis) for axis in zip(*strides, strict=True))
        # Separate, so that the published parameters can be counted without those of presence.
        self.image_stem = nn.Conv3d(modalities, channels[0], 3, padding=1)
        self.presence_stem = nn.Conv3d(modalities, channels[0], 3, padding=1, bias=False)
        self.stem_dropout = nn.Dropout3d(0.2)
        steps = list(zip(channels[:-1], channels[1:], [(x, y, z) for x, y, z in strides], strict=True))
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(size, groups=groups) for _ in range(count)))
            for size, count in zip(channels, blocks, strict=True)
        )
        self.downs = nn.ModuleList(nn.Conv3d(fine, coarse, 3, step, padding=1) for fine, coarse, step in steps)
        self.context = GlobalContext(
            channels[-1],
            groups=groups,
            positions=positions,
            width=width,
            layers=layers,
            heads=heads,
            feed_forward=feed_forward,
            dropout=dropout,
        )
        self.ups = nn.ModuleList(Upsampling(coarse, fine, stride=step) for fine, coarse, step in reversed(steps))
        self.refinements = nn.ModuleList(ResidualBlock(size, groups=groups) for size in reversed(channels[:-1]))
        self.head = nn.Conv3d(channels[0], outputs, 1)

    def forward(
        self, images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
    ) -> Float[Tensor, "batch channel x y z"]:
        """Return the logits of every slice.

        Args:
            images: (B, M, X, Y, Z) normalized; X, Y and Z are multiples of `stride`.
            presence: (B, M, X, Y, Z); where it is False the image is ignored.
        """
        masked = torch.where(presence, images, 0.0)
        features = self.stem_dropout(self.image_stem(masked) + self.presence_stem(presence.to(images.dtype)))
        skips = []
        for level, down in zip(self.levels[:-1], self.downs, strict=True):
            skips.append(level(features))  # (B, 16, X, Y, Z), (B, 32, X/2, Y/2, Z/2), ...
            features = down(skips[-1])
        features = self.context(self.levels[-1](features))  # (B, 128, X/8, Y/8, Z/8)
        for up, refine, skip in zip(self.ups, self.refinements, reversed(skips), strict=True):
            features = refine(up(features, skip))
        return self.head(features)  # (B, C, X, Y, Z)


class ResidualBlock(nn.Sequential):
    """Pre-activation residual block: twice normalization, ReLU and convolution (He et al., arXiv 1603.05027)."""

    def __init__(self, channels: int, *, groups: int) -> None:
        """Build a block that keeps the number of channels; `groups` is the number of normalization groups."""
        super().__init__(
            nn.GroupNorm(groups, channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1),
            nn.GroupNorm(groups, channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1),
        )

    def forward(self, features: Float[Tensor, "batch width x y z"]) -> Float[Tensor, "batch width x y z"]:
        """Return the input plus the residual."""
        return features + super().forward(features)


class Upsampling(nn.Module):
    """Upsample a level, and merge it with the skip connection of the next finer one."""

    def __init__(self, coarse: int, fine: int, *, stride: tuple[int, int, int]) -> None:
        """Build the layer from `coarse` to `fine` channels; `stride` is the ratio of the resolutions."""
        super().__init__()
        self.enlarge = nn.Sequential(nn.Conv3d(coarse, fine, 1), nn.ConvTranspose3d(fine, fine, stride, stride))
        self.merge = nn.Conv3d(2 * fine, fine, 1)

    def forward(
        self, features: Float[Tensor, "batch coarse _ _ _"], skip: Float[Tensor, "batch fine x y z"]
    ) -> Float[Tensor, "batch fine x y z"]:
        """Return the finer feature map."""
        return self.merge(torch.cat([skip, self.enlarge(features)], dim=1))


class GlobalContext(nn.Module):
    """Transformer over all voxels of the coarsest feature map as tokens."""

    def __init__(
        self,
        channels: int,
        *,
        groups: int,
        positions: Sequence[int],
        width: int,
        layers: int,
        heads: int,
        feed_forward: int,
        dropout: float,
    ) -> None:
        """Build the transformer between two convolutions; arguments as in `TransBTS`."""
        super().__init__()
        self.embed = nn.Sequential(
            nn.GroupNorm(groups, channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, width, 3, padding=1),
            nn.Conv3d(width, width, 1),
        )
        self.positions = nn.Parameter(0.02 * torch.randn(1, width, *positions))
        self.dropout = nn.Dropout(dropout)
        self.transformer = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, heads, feed_forward, dropout, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(layers)
            ),
            nn.LayerNorm(width),
        )
        self.back = nn.Sequential(
            nn.Conv3d(width, channels, 3, padding=1),
            nn.GroupNorm(groups, channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1),
            nn.GroupNorm(groups, channels),
            nn.ReLU(inplace=True),
            ResidualBlock(channels, groups=groups),
        )

    def forward(self, features: Float[Tensor, "batch channel x y z"]) -> Float[Tensor, "batch channel x y z"]:
        """Return the feature map with global context, of the same size."""
        embedded = self.embed(features)  # (B, 512, x, y, z)
        embedded = self.dropout(embedded + self._positions_of(embedded))
        tokens = self.transformer(rearrange(embedded, "b width x y z -> b (x y z) width"))
        x, y, z = embedded.shape[2:]
        return self.back(rearrange(tokens, "b (x y z) width -> b width x y z", x=x, y=y, z=z))

    def _positions_of(self, embedded: Float[Tensor, "batch width x y z"]) -> Float[Tensor, "1 width x y z"]:
        """Return the position embeddings, interpolated if the grid size differs."""
        grid = embedded.shape[2:]
        if grid == self.positions.shape[2:]:
            return self.positions
        return functional.interpolate(self.positions, grid, mode="trilinear", align_corners=False)
