"""Orthonormal Haar transform of 2x2 pixels to four channels (Haar 1910; one level of a wavelet transform)."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

# Rows: mean, difference along x, along y, along both; columns: the pixels (0,0), (0,1), (1,0), (1,1).
HAAR = ((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, -0.5, -0.5), (0.5, -0.5, 0.5, -0.5), (0.5, -0.5, -0.5, 0.5))


def squeezed(
    images: Float[Tensor, "batch channel x y"], *, levels: int
) -> Float[Tensor, "batch many_channels small_x small_y"]:
    """Return the 4^levels bands of every channel at a size divided by 2^levels, of the same norm.

    Args:
        images: X and Y are multiples of 2^levels.
        levels: how often the transform is applied, each time to all bands.
    """
    for _ in range(levels):
        blocks = rearrange(images, "b c (x i) (y j) -> b c (i j) x y", i=2, j=2)
        bands = torch.einsum("fp,bcpxy->bcfxy", blocks.new_tensor(HAAR), blocks)
        images = rearrange(bands, "b c f x y -> b (c f) x y")
    return images
