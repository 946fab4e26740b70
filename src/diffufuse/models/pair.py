"""What all networks that fuse two images have in common: what they read, and what becomes of an absent image."""

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.fused import Fused
from diffufuse.models.fusers.sources import completed
from diffufuse.models.layers.noise import Noise, drawn


class PairFuser(nn.Module):
    """A network that makes one image of two, structure and function, slice by slice.

    The published networks know no absence. Where one image is absent the other stands in for it (`completed`), so that
    the network fuses an image with itself there; where both are, the fused image is 0.

    Attributes:
        stride: of which the sizes of a slice are multiples.
        is_random: whether the fused image depends on noise, which a caller gives if it is to be the same every time.
    """

    dims = 2
    stride: tuple[int, int, int] = (1, 1, 1)
    is_random: ClassVar[bool] = False

    def forward(
        self,
        images: Float[Tensor, "batch 2 x y 1"],
        presence: Bool[Tensor, "batch 2 x y 1"],
        *,
        noise: Noise = drawn,
    ) -> Float[Tensor, "batch 1 x y 1"]:
        """Return the fused image in 0..1.

        Values beyond 0 and 1 are cut off. Some of the releases stretch each image to its extremes instead, which makes
        gray of a black background.

        Args:
            images: (B, 2, X, Y, 1) on a display scale of 0 to 1; X and Y are multiples of `stride`.
            presence: (B, 2, X, Y, 1); where it is False the image is ignored.
            noise: of a network that `is_random`.
        """
        return self.decomposed(images, presence, noise=noise).fused.clamp(0.0, 1.0)

    def decomposed(
        self,
        images: Float[Tensor, "batch 2 x y 1"],
        presence: Bool[Tensor, "batch 2 x y 1"],
        *,
        noise: Noise = drawn,
    ) -> Fused:
        """Return the fused image as the network gives it, without bounds, and its features; arguments as `forward`."""
        pair = completed(images, presence)[..., 0]
        made = self.fuse_pair(pair, noise) if self.is_random else self.fuse_pair(pair)
        inside = presence.any(dim=1, keepdim=True)
        return replace(made, fused=torch.where(inside, made.fused, 0.0))

    def fuse_pair(self, pair: Float[Tensor, "batch 2 x y"], noise: Noise = drawn) -> Fused:
        """Return what the network makes of two images that are present everywhere; `fused` is (B, 1, X, Y, 1)."""
        raise NotImplementedError
