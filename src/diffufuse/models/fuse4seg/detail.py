"""Details of images at two times, four times ... the size of a pixel: the bands of a Laplacian pyramid at full size."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional


def details_of(
    images: Float[Tensor, "batch modality x y"], presence: Bool[Tensor, "batch modality x y"], *, levels: int
) -> Float[Tensor, "batch details x y"]:
    """Return what each level of smoothing takes from the images, the finest of all modalities first.

    Args:
        images: zero where not present; X and Y are multiples of 2^levels.
        presence: what of them is there. Means are over present pixels, so that a border of presence is no detail.
        levels: number of bands L; the result has L M channels.
    """
    weights, finer, bands = presence.to(images.dtype), images, []
    for level in range(1, levels + 1):
        sums, counts = (enlarged(functional.avg_pool2d(each, 2**level), level) for each in (images, weights))
        smooth = torch.where(presence, sums / counts.clamp(min=torch.finfo(counts.dtype).tiny), 0.0)
        bands.append(finer - smooth)
        finer = smooth
    return torch.cat(bands, dim=1)


def enlarged(maps: Float[Tensor, "batch channel small_x small_y"], levels: int) -> Float[Tensor, "batch channel x y"]:
    """Return the maps at 2^levels times the size, linear between the centers of their pixels."""
    return functional.interpolate(maps, scale_factor=2**levels, mode="bilinear", align_corners=False)
