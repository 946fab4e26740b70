"""Orthonormal Haar transform of 2x2 pixels to four channels, and back (Haar 1910; one level of a wavelet transform)."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

# Rows: mean, difference along x, along y, along both; columns: the pixels (0,0), (0,1), (1,0), (1,1).
HAAR = ((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, -0.5, -0.5), (0.5, -0.5, 0.5, -0.5), (0.5, -0.5, -0.5, 0.5))


def squeezed(images: Float[Tensor, "batch channel x y"]) -> Float[Tensor, "batch four_channels half_x half_y"]:
    """Return the four bands of every channel at half the size, of the same norm; X and Y are even."""
    blocks = rearrange(images, "b c (x i) (y j) -> b c (i j) x y", i=2, j=2)
    bands = torch.einsum("fp,bcpxy->bcfxy", blocks.new_tensor(HAAR), blocks)
    return rearrange(bands, "b c f x y -> b (c f) x y")


def unsqueezed(bands: Float[Tensor, "batch four_channels half_x half_y"]) -> Float[Tensor, "batch channel x y"]:
    """Return the images of which these are the bands."""
    grouped = rearrange(bands, "b (c f) x y -> b c f x y", f=4)
    blocks = torch.einsum("fp,bcfxy->bcpxy", grouped.new_tensor(HAAR), grouped)
    return rearrange(blocks, "b c (i j) x y -> b c (x i) (y j)", i=2, j=2)
