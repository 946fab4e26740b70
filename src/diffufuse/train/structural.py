"""Structural similarity as a loss, by MONAI: differentiable, in windows that hold no padding.

Wang et al.: Image Quality Assessment: From Error Visibility to Structural Similarity, IEEE TIP 13, 2004; in several
scales: Wang, Simoncelli and Bovik: Multiscale Structural Similarity for Image Quality Assessment, Asilomar 2003.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from diffufuse.collective import total
from diffufuse.metrics.fusion.structure import SCALE_WEIGHTS

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


def multiscale_similarity(
    given: Float[Tensor, "batch image x y z"],
    wanted: Float[Tensor, "batch image x y z"],
    presence: Bool[Tensor, "batch image x y z"],
) -> Tensor:
    """Mean MS-SSIM of slices: the part of SSIM without luminance at each scale, and all of it at the last.

    The mean of each scale, in -1..1, is brought to 0..1 by (1 + mean) / 2, so that it has a gradient where it is
    negative, and is raised to the weight of Wang et al. A patch too small for their five scales has as many as hold a
    window, with the weights divided by their sum. A slice without a window has no part in the mean;
    without any it is 1.

    Args:
        given: on the display scale, 0..1.
        wanted: likewise.
        presence: where they are compared; a pixel of a coarser scale is present where all of it is.
    """
    weights = SCALE_WEIGHTS[: _scales(given)]
    factors, seen = [], []
    for scale, weight in enumerate(weights, 1):
        ssim, structure, whole = similarities(given, wanted, presence)
        mean = _mean_of_windows(ssim if scale == len(weights) else structure, whole)
        factors.append(((1 + mean) / 2) ** (weight / sum(weights)))
        seen.append(whole.any(dim=(2, 3)))
        given, wanted = _halved(given.float()), _halved(wanted.float())
        presence = _halved(presence.float()) == 1
    return 1 - mean_where(1 - torch.stack(factors).prod(dim=0), seen[0])


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


def _scales(images: Tensor) -> int:
    """Number of scales at which the smaller side holds a window, each half of the one before; 1 to 5."""
    side = min(images.shape[2:4])
    return next((n for n in range(1, len(SCALE_WEIGHTS)) if side // 2**n < SIDE), len(SCALE_WEIGHTS))


def _halved(images: Float[Tensor, "batch image x y z"]) -> Float[Tensor, "batch image half_x half_y z"]:
    return functional.avg_pool3d(images, (2, 2, 1))


def _mean_of_windows(values: Tensor, whole: Tensor) -> Float[Tensor, "slice image"]:
    """Mean over the windows of every slice; 1 without any."""
    sums, counts = torch.where(whole, values, 0.0).sum(dim=(2, 3)), whole.sum(dim=(2, 3))
    return torch.where(counts > 0, sums / counts.clamp(min=1), 1.0)
