"""Building blocks of U-shaped networks with one encoder per modality.

Ronneberger, Fischer, Brox: U-Net, MICCAI 2015 (arXiv 1505.04597); residual units as in He et al., CVPR 2016
(arXiv 1512.03385); group normalization as in Wu and He, ECCV 2018 (arXiv 1803.08494), because instance normalization
removes what is constant over a patch, such as the presence of a modality.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

CONVOLUTION: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
LEAK = 0.01
GROUPS = 4


def group_norm(width: int) -> nn.GroupNorm:
    """Return group normalization with four groups of at least two features each."""
    return nn.GroupNorm(max(min(GROUPS, width // 2), 1), width)


class ResidualBlock(nn.Module):
    """Residual block of two 3-wide convolutions with group normalization; the first may be strided."""

    def __init__(self, inputs: int, outputs: int, *, dims: int, stride: Sequence[int] | int = 1) -> None:
        super().__init__()
        convolution = CONVOLUTION[dims]
        stride = tuple(stride) if not isinstance(stride, int) else (stride,) * dims
        self.body = nn.Sequential(
            convolution(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            group_norm(outputs),
            nn.LeakyReLU(LEAK, inplace=True),
            convolution(outputs, outputs, 3, padding=1, bias=False),
            group_norm(outputs),
        )
        same = inputs == outputs and math.prod(stride) == 1
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1, stride=stride, bias=False)
        self.activation = nn.LeakyReLU(LEAK, inplace=True)

    def forward(self, features: Float[Tensor, "batch inputs *grid"]) -> Float[Tensor, "batch outputs *coarser"]:
        """Return the features at the block's width and resolution."""
        return self.activation(self.body(features) + self.shortcut(features))


class Encoder(nn.Module):
    """Encoder: an image and its presence to features at every level, from fine to coarse."""

    def __init__(self, inputs: int, *, widths: Sequence[int], strides: Sequence[Sequence[int]], dims: int) -> None:
        """Build the encoder.

        Args:
            inputs: channels of the input.
            widths: channels per level; the first is at full resolution.
            strides: stride from each level to the next, per axis.
            dims: 2 or 3.
        """
        super().__init__()
        stem = ResidualBlock(inputs, widths[0], dims=dims)
        steps = [(a, b, by) for (a, b), by in zip(pairwise(widths), strides, strict=True)]
        self.levels = nn.ModuleList([stem, *(ResidualBlock(a, b, dims=dims, stride=by) for a, b, by in steps)])

    def forward(self, image: Float[Tensor, "batch inputs *grid"]) -> list[Tensor]:
        """Return the features (B, C_l, *grid_l) of every level l."""
        features = []
        for level in self.levels:
            image = level(image)
            features.append(image)
        return features


class Decoder(nn.Module):
    """Decoder: fused features of every level to logits at full resolution by upsampling and concatenation (Eq. 19)."""

    def __init__(self, outputs: int, *, widths: Sequence[int], strides: Sequence[Sequence[int]], dims: int) -> None:
        super().__init__()
        pairs = [(a, b, by) for (a, b), by in zip(pairwise(widths), strides, strict=True)][::-1]
        self.up = nn.ModuleList(TRANSPOSED[dims](b, a, tuple(by), stride=tuple(by)) for a, b, by in pairs)
        self.blocks = nn.ModuleList(ResidualBlock(2 * a, a, dims=dims) for a, _, _ in pairs)
        self.head = CONVOLUTION[dims](widths[0], outputs, 1)

    def forward(self, fused: Sequence[Tensor]) -> Float[Tensor, "batch outputs *grid"]:
        """Return the logits from one feature map per level, from fine to coarse."""
        *finer, features = fused
        for up, block, skip in zip(self.up, self.blocks, reversed(finer), strict=True):
            features = block(torch.cat([up(features), skip], dim=1))
        return self.head(features)


class Fusion(nn.Module):
    """Fuse the feature maps of all modalities: sum over m of g_m W_m f_m, with W_m a 1-wide convolution of modality m.

    The map of an absent modality is replaced by a learned constant a_m. A present one is weighted by g_m = n w_m, with
    n the number of present modalities and w_m its gate; uniform gates thus equal a concatenation followed by a 1-wide
    convolution.
    """

    def __init__(self, modalities: int, width: int, *, dims: int) -> None:
        super().__init__()
        self.absent = nn.Parameter(torch.zeros(modalities, width))
        self.mix = CONVOLUTION[dims](modalities * width, width, 1, bias=False)
        self.norm = group_norm(width)
        self.activation = nn.LeakyReLU(LEAK, inplace=True)

    def forward(
        self,
        features: Float[Tensor, "batch modality width *grid"],
        present: Bool[Tensor, "batch modality"],
        gates: Float[Tensor, "batch modality"] | None = None,
    ) -> Float[Tensor, "batch width *grid"]:
        """Return the fused feature map.

        Args:
            features: one map per modality; ignored where `present` is False.
            present: which modalities are present.
            gates: w_m, sum 1 over the present ones; None for uniform.
        """
        on_grid = (...,) + (None,) * (features.ndim - 3)
        if gates is not None:
            features = features * (gates * present.sum(dim=1, keepdim=True))[..., None][on_grid]
        filled = torch.where(present[..., None][on_grid], features, self.absent[on_grid])
        return self.activation(self.norm(self.mix(rearrange(filled, "b m c ... -> b (m c) ..."))))


def encoder_inputs(
    images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"], *, dims: int
) -> Float[Tensor, "batch modality channel *grid"]:
    """Return the input of each modality's encoder: its image, 0 where absent, and its presence.

    Returns:
        (B, M, 2 Z, X, Y) in 2-D, with the Z neighboring slices as channels; (B, M, 2, X, Y, Z) in 3-D.
    """
    masked = torch.where(presence, images, 0.0)
    inputs = torch.stack([masked, presence.to(images.dtype)], dim=2)  # (B, M, 2, X, Y, Z)
    return rearrange(inputs, "b m c x y z -> b m (c z) x y") if dims == 2 else inputs


def encode_all(encoders: nn.ModuleList, inputs: Float[Tensor, "batch modality channel *grid"]) -> list[Tensor]:
    """Return the features (B, M, C_l, *grid_l) of every level l, with one encoder per modality."""
    per_modality = [encoder(inputs[:, m]) for m, encoder in enumerate(encoders)]
    return [torch.stack(level, dim=1) for level in zip(*per_modality, strict=True)]


def full_strides(strides: Sequence[Sequence[int]] | None, *, levels: int, dims: int) -> list[tuple[int, ...]]:
    """Return the strides between levels: those given, or 2 along every axis."""
    if strides is None:
        return [(2,) * dims] * (levels - 1)
    return [tuple(step) for step in strides]


def patch_multiple(strides: Sequence[Sequence[int]], *, dims: int) -> tuple[int, int, int]:
    """Return the factors of which X, Y and Z of a patch must be multiples."""
    products = [math.prod(axis) for axis in zip(*strides, strict=True)]
    return products[0], products[1], products[2] if dims == 3 else 1
