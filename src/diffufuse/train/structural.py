"""Structural similarity as a loss, by MONAI: differentiable, in windows that hold no padding.

Wang et al.: Image Quality Assessment: From Error Visibility to Structural Similarity, IEEE TIP 13, 2004.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from diffufuse.collective import total

SIDE, SIGMA = 11, 1.5


def similarity(
    given: Float[Tensor, "batch image x y z"],
    wanted: Float[Tensor, "batch image x y z"],
    presence: Bool[Tensor, "batch image x y z"],
) -> Tensor:
    """Mean SSIM of images, in Gaussian windows of 11x11 pixels that are present throughout; 1 without any.

    Args:
        given: on the display scale, 0..1.
        wanted: likewise.
        presence: where they are compared.
    """
    ssim, _, whole = similarities(given, wanted, presence)
    return 1 - mean_where(1 - ssim, whole)


def structure(
    fused: Float[Tensor, "batch 1 x y z"],
    images: Float[Tensor, "batch modality x y z"],
    presence: Bool[Tensor, "batch modality x y z"],
) -> Tensor:
    """Mean similarity of a fused image to what has the most structure in each window: SSIM without the luminance.

    That is the modality with the largest deviation among those present in all of the window, by whose side a modality
    without structure there does not count; 1 without any window.

    Source: DM-FNet, 2025 (arXiv 2506.15218), with the constant C2 of gray levels in 0..1.
    """
    _, agreement, whole = similarities(fused.expand_as(images), images, presence)
    # The similarity to a blank image, C2 / (variance + C2), falls with the deviation.
    _, blankness, _ = similarities(torch.zeros_like(images), images, presence)
    sharpest = torch.where(whole, blankness, torch.inf).argmin(dim=1, keepdim=True)
    return 1 - mean_where(1 - agreement.gather(1, sharpest), whole.any(dim=1, keepdim=True))


def similarities(given: Tensor, wanted: Tensor, presence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """SSIM of every window; its part without the luminance; and whether the window is present throughout.

    Arguments as for `similarity`; the results are (B Z, image, X - 10, Y - 10).
    """
    from monai.metrics.regression import compute_ssim_and_cs  # imported here, as MONAI loads slowly

    one, other = (rearrange(part.float(), "b m x y z -> (b z) m x y") for part in (given, wanted))
    absent = 1 - rearrange(presence, "b m x y z -> (b z) m x y").float()
    ssim, structure = compute_ssim_and_cs(
        one, other, spatial_dims=2, kernel_size=(SIDE, SIDE), kernel_sigma=(SIGMA, SIGMA), data_range=1.0
    )
    return ssim, structure, functional.max_pool2d(absent, SIDE, stride=1) == 0


def mean_where(values: Tensor, where: Tensor) -> Tensor:
    """Mean over the places of all processes; 0 without any."""
    return total(torch.where(where, values, 0.0).sum()) / total(where.sum()).clamp(min=1)
