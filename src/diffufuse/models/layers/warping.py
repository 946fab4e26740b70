"""Images moved by a field of displacements, and the field that moves them back.

A field has two components, the displacement along x and along y in pixels. It says where a pixel takes its value from:
`moved(image, field)` is the image at x + field(x). So a field of 1 along x shifts an image by 1 toward lower x.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

INVERSION_STEPS = 12


def moved(
    images: Float[Tensor, "batch channel x y"],
    field: Float[Tensor, "batch 2 x y"],
    *,
    outside: Literal["border", "zeros"] = "border",
) -> Float[Tensor, "batch channel x y"]:
    """Return the images at x + field(x), linear between the centers of pixels.

    Args:
        images: maps on the grid of the field.
        field: in pixels.
        outside: what is beyond an image: the values at its border, or 0.
    """
    sizes = images.shape[2:]
    axes = [torch.arange(size, dtype=torch.float32, device=field.device) for size in sizes]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij")) + field.float()
    # In the coordinates of `grid_sample` pixel n of N has its center at (2 n + 1) / N - 1, and the last axis is first.
    scaled = [(2 * places[:, axis] + 1) / size - 1 for axis, size in enumerate(sizes)]
    grid = torch.stack(scaled[::-1], dim=-1)  # in single precision, as others could not tell the pixels apart
    result = functional.grid_sample(images.float(), grid, mode="bilinear", padding_mode=outside, align_corners=False)
    return result.to(images.dtype)


def inverse(field: Float[Tensor, "batch 2 x y"]) -> Float[Tensor, "batch 2 x y"]:
    """Return the field that undoes a field: moving an image by one and then by the other gives it back.

    It is the fixed point of f(x) = -field(x + f(x)), which the iteration reaches for a field that nowhere changes by a
    pixel per pixel. Where it leads out of the image, the border of the field goes on.
    """
    undoing = -field
    for _ in range(INVERSION_STEPS):
        undoing = -moved(field, undoing)
    return undoing


def finer(field: Float[Tensor, "batch 2 x y"]) -> Float[Tensor, "batch 2 fine_x fine_y"]:
    """Return a field on the grid of twice the resolution, in pixels of that grid."""
    return 2 * functional.interpolate(field, scale_factor=2, mode="bilinear", align_corners=False)


def coarser(field: Float[Tensor, "batch 2 x y"], factor: int) -> Float[Tensor, "batch 2 coarse_x coarse_y"]:
    """Return a field on the grid of 1/`factor` of the resolution, in pixels of that grid."""
    return functional.avg_pool2d(field, factor) / factor
