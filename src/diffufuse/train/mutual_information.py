"""Region mutual information as a loss: how well small regions of one image tell those of another.

Zhao et al.: Region Mutual Information Loss for Semantic Segmentation, NeurIPS 2019 (arXiv 1910.12037). An image is
made smaller, and every pixel of it stands for its neighborhood, a point in nine dimensions. If the points of both
images were normally distributed, what the one leaves open of the other would follow from their covariances alone.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from diffufuse.train.structural import mean_where

POOL, SIDE = 3, 3
DIMENSIONS = SIDE**2
# What is open of a region never falls below one gray level of 8 bits, so that the logarithm stays finite.
LEAST_VARIANCE = (1 / 255) ** 2


def left_open(
    fused: Float[Tensor, "batch 1 x y z"],
    source: Float[Tensor, "batch 1 x y z"],
    presence: Bool[Tensor, "batch 1 x y z"],
) -> Tensor:
    """What the regions of the fused image leave open of those of a source, mean over the samples, in nat a pixel.

    It is the entropy of a source's region given that of the fused image, above the entropy of one gray level: at most
    half a bit if the one follows from the other. It falls by as much as the mutual information of both rises. It asks
    for no gray level, as any linear map of the regions tells as much.

    Args:
        fused: on the display scale, 0..1.
        source: likewise.
        presence: where the source is. Regions count that are present throughout; samples without any do not.
    """
    absent = _slices(1 - presence.float())
    where = (_regions(_smaller(absent)) == 0).all(dim=1)
    points = [_regions(_smaller(_slices(image.double()))) for image in (fused, source)]
    joint = _covariance(torch.cat(points, dim=1), where)
    joint = joint + LEAST_VARIANCE * torch.eye(2 * DIMENSIONS, dtype=joint.dtype, device=joint.device)
    open_of_source = _log_determinant(joint) - _log_determinant(joint[:, :DIMENSIONS, :DIMENSIONS])
    nats = open_of_source / (2 * DIMENSIONS) - math.log(LEAST_VARIANCE) / 2
    return mean_where(nats.to(fused.dtype), where.any(dim=1))


def _slices(volume: Tensor) -> Tensor:
    return volume.permute(0, 4, 1, 2, 3).flatten(0, 1)


def _smaller(image: Tensor) -> Tensor:
    """The brightest pixel of each cell, as in MATR."""
    return functional.max_pool2d(image, POOL)


def _regions(image: Float[Tensor, "slice 1 x y"]) -> Float[Tensor, "slice dimension region"]:
    return functional.unfold(image, SIDE)


def _covariance(
    points: Float[Tensor, "slice dimension region"], where: Bool[Tensor, "slice region"]
) -> Float[Tensor, "slice dimension dimension"]:
    count = where.sum(dim=1).clamp(min=1)[:, None, None]
    weight = where[:, None].to(points.dtype)
    centered = weight * (points - (weight * points).sum(dim=2, keepdim=True) / count)
    return centered @ centered.transpose(1, 2) / count


def _log_determinant(covariance: Float[Tensor, "slice dimension dimension"]) -> Float[Tensor, " slice"]:
    return 2 * torch.linalg.cholesky(covariance).diagonal(dim1=1, dim2=2).log().sum(dim=1)
