"""Loss terms of a fused image, which need no labels. Only voxels where a modality is present count.

Where the field of view of a modality ends its image falls to 0. That is no edge of the body, so the gradients there are
neither a target nor compared.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from diffufuse.models.present import mean_of_present
from diffufuse.train.structural import mean_where, multiscale_similarity, similarity

# Keeps the decomposition loss finite for a correlation of -1; Zhao et al., CDDFuse, CVPR 2023 (arXiv 2211.14461).
ABOVE_MINUS_ONE = 1.01
TINY = 1e-12


def decomposition(base: Tensor, detail: Tensor) -> Tensor:
    """CC_detail² / (1.01 + CC_base): base features of both modalities shall correlate, detail features shall not.

    The pull on the base is in proportion to CC_detail², so it ends where details no longer correlate.

    Args:
        base: correlation of the base features of both modalities, -1..1, from `correlation`.
        detail: of the detail features.

    Source: Zhao et al., CDDFuse, CVPR 2023 (arXiv 2211.14461), Eq. 9.
    """
    return detail.square() / (ABOVE_MINUS_ONE + base)


def correlation(
    features: Float[Tensor, "batch 2 channel x y *z"], presence: Bool[Tensor, "batch 2 x0 y0 z0"]
) -> Tensor:
    """Pearson's correlation of the features of two modalities where both are present, mean over samples and channels.

    Args:
        features: of both modalities, on the image's grid or a coarser one.
        presence: where each modality is present. On a coarser grid a position counts where all of it is present.

    Returns:
        -1..1; 0 if no sample has both modalities.
    """
    samples, _, channels, *grid = features.shape
    both = presence.all(dim=1, keepdim=True).float()
    size = [*grid, *presence.shape[2 + len(grid) :]]
    inside = 1 - F.adaptive_max_pool3d(1 - both, size)
    where = (inside > 0).reshape(samples, 1, -1)
    first, second = features.float().reshape(samples, 2, channels, -1).unbind(dim=1)
    count = where.sum(dim=-1).clamp(min=1)
    first, second = (
        torch.where(where, part - (torch.where(where, part, 0.0).sum(dim=-1) / count)[..., None], 0.0)
        for part in (first, second)
    )
    lengths = (first.square().sum(dim=-1) * second.square().sum(dim=-1) + TINY).sqrt()
    of_channels = (first * second).sum(dim=-1) / lengths
    return mean_where(of_channels.mean(dim=1), where.any(dim=-1)[:, 0])


def gradient(
    fused: Float[Tensor, "batch 1 x y z"],
    images: Float[Tensor, "batch modality x y z"],
    presence: Bool[Tensor, "batch modality x y z"],
) -> Tensor:
    """Mean of | |∇F| - max(|∇A|, |∇B|) |, with |∇| the sum of the absolute axial Sobel derivatives.

    A voxel counts where, in its 3x3 neighborhood, every modality is present throughout or absent throughout, and one is
    present; an absent one has no gradient. The outermost voxels of a patch do not count.

    Source: Tang et al., PIAFusion, 2022 (doi:10.1016/j.inffus.2022.03.007), the same in CDDFuse.
    """
    throughout, somewhere = _neighborhoods(_slices(presence))
    target = torch.where(throughout, _sobel(_slices(images.float())), 0.0).amax(dim=1, keepdim=True)
    where = (throughout == somewhere).all(dim=1, keepdim=True) & throughout.any(dim=1, keepdim=True)
    return mean_where((_sobel(_slices(fused.float())) - target).abs(), where)


def anchor(
    fused: Float[Tensor, "batch 1 x y z"],
    images: Float[Tensor, "batch modality x y z"],
    presence: Bool[Tensor, "batch modality x y z"],
) -> Tensor:
    """Mean squared distance of the fused image from the mean of the present modalities, where one is present."""
    where = presence.any(dim=1, keepdim=True)
    return mean_where((fused.float() - mean_of_present(images, presence)).square(), where)


def maximum(
    fused: Float[Tensor, "batch 1 x y z"],
    images: Float[Tensor, "batch modality x y z"],
    presence: Bool[Tensor, "batch modality x y z"],
) -> Tensor:
    """Mean absolute distance of the fused image from the largest of the present modalities, where one is present.

    Source: Zhao et al., CDDFuse, CVPR 2023 (arXiv 2211.14461), its intensity loss; the same in DM-FNet and others.
    """
    where = presence.any(dim=1, keepdim=True)
    return mean_where((fused.float() - _largest(images, presence)).abs(), where)


def maximum_squared(
    fused: Float[Tensor, "batch 1 x y z"],
    images: Float[Tensor, "batch modality x y z"],
    presence: Bool[Tensor, "batch modality x y z"],
) -> Tensor:
    """As `maximum`, squared: Xie et al., FusionMamba, 2024 (arXiv 2404.09498)."""
    where = presence.any(dim=1, keepdim=True)
    return mean_where((fused.float() - _largest(images, presence)).square(), where)


def dissimilarity(
    fused: Float[Tensor, "batch 1 x y z"],
    images: Float[Tensor, "batch modality x y z"],
    presence: Bool[Tensor, "batch modality x y z"],
) -> Tensor:
    """1 - SSIM of the fused image and a modality, mean over the modalities; see `structural.similarity`."""
    parts = [
        1 - similarity(fused, images[:, one : one + 1], presence[:, one : one + 1]) for one in range(images.shape[1])
    ]
    return torch.stack(parts).mean()


def recognition(logits: Float[Tensor, "batch 2 2"], presence: Bool[Tensor, "batch 2 x y z"]) -> Tensor:
    """Cross-entropy of which modality each image of a pair is, where both are; log 2 for a guess.

    Args:
        logits: of every image, that it is the first or the second modality.
        presence: a sample without one of its images does not count.

    Source: Li et al., BSAFusion, AAAI 2025 (arXiv 2412.08050).
    """
    told = logits.float().log_softmax(dim=2).diagonal(dim1=1, dim2=2)
    return mean_where(-told.mean(dim=1), _both(presence))


def confusion(logits: Float[Tensor, "batch 2 2"], presence: Bool[Tensor, "batch 2 x y z"]) -> Tensor:
    """Cross-entropy of an even guess at the modality of each image; at its least, log 2, nothing tells it.

    Arguments and source as for `recognition`.
    """
    return mean_where(-logits.float().log_softmax(dim=2).mean(dim=(1, 2)), _both(presence))


def _both(presence: Tensor) -> Tensor:
    """Whether a sample has both images."""
    return presence.flatten(2).any(dim=2).all(dim=1)


def multiscale_dissimilarity(
    fused: Float[Tensor, "batch 1 x y z"],
    images: Float[Tensor, "batch modality x y z"],
    presence: Bool[Tensor, "batch modality x y z"],
) -> Tensor:
    """1 - MS-SSIM of the fused image and a modality, mean over the modalities; see `structural.multiscale_similarity`.

    Source: Xie et al., FusionMamba, 2024 (arXiv 2404.09498).
    """
    parts = [
        1 - multiscale_similarity(fused, images[:, one : one + 1], presence[:, one : one + 1])
        for one in range(images.shape[1])
    ]
    return torch.stack(parts).mean()


def distance_from_mean(
    fused: Float[Tensor, "batch 1 x y z"],
    images: Float[Tensor, "batch modality x y z"],
    presence: Bool[Tensor, "batch modality x y z"],
) -> Tensor:
    """Mean absolute distance of the fused image from the mean of the present modalities, where one is present."""
    where = presence.any(dim=1, keepdim=True)
    return mean_where((fused.float() - mean_of_present(images, presence)).abs(), where)


def _largest(images: Tensor, presence: Tensor) -> Tensor:
    return torch.where(presence, images.float(), 0.0).amax(dim=1, keepdim=True)


def _slices(volume: Tensor) -> Tensor:
    return rearrange(volume, "b c x y z -> (b z) c x y")


def _sobel(image: Float[Tensor, "slice channel x y"]) -> Float[Tensor, "slice channel inner_x inner_y"]:
    # differences and sums of shifted images take a fifth of the time of convolutions
    along_x, along_y = image[:, :, 2:] - image[:, :, :-2], image[..., 2:] - image[..., :-2]
    smooth_x = along_x[..., :-2] + 2 * along_x[..., 1:-1] + along_x[..., 2:]
    smooth_y = along_y[:, :, :-2] + 2 * along_y[:, :, 1:-1] + along_y[:, :, 2:]
    return smooth_x.abs() + smooth_y.abs()


def _neighborhoods(present: Bool[Tensor, "slice channel x y"]) -> tuple[Tensor, Tensor]:
    """Whether a mask holds in all, and in any, of the 3x3 neighborhood of each inner voxel."""
    rows = present[:, :, :-2], present[:, :, 1:-1], present[:, :, 2:]
    throughout, somewhere = rows[0] & rows[1] & rows[2], rows[0] | rows[1] | rows[2]
    return (
        throughout[..., :-2] & throughout[..., 1:-1] & throughout[..., 2:],
        somewhere[..., :-2] | somewhere[..., 1:-1] | somewhere[..., 2:],
    )
