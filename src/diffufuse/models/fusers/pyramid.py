"""Laplacian pyramid: the largest magnitude of every band, the mean of what is left.

Burt, Adelson: The Laplacian Pyramid as a Compact Image Code, IEEE Transactions on Communications 31, 1983
(doi 10.1109/TCOM.1983.1095851), and its use for fusion as in Burt, Kolczynski, ICCV 1993.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from diffufuse.models.fusers.sources import completed, largest

# The generating kernel with a = 0.375: binomial.
KERNEL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


class LaplacianPyramid(nn.Module):
    """Fusion band by band of a Laplacian pyramid."""

    dims = 2
    stride = (1, 1, 1)

    def __init__(self, *, modalities: int, outputs: int, levels: int = 4) -> None:
        """Build the rule.

        Args:
            modalities: number of input images M.
            outputs: 1, the fused image.
            levels: number of bands beside the low-pass rest; fewer where the image is too small to be halved so often.
        """
        super().__init__()
        self.levels = levels

    def forward(
        self, images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
    ) -> Float[Tensor, "batch 1 x y z"]:
        """Return the fused image in 0..1, 0 where no source is present.

        Args:
            images: (B, M, X, Y, Z) on a display scale of 0 to 1.
            presence: (B, M, X, Y, Z); where it is False the image is ignored.
        """
        slices = rearrange(completed(images.float(), presence), "b m x y z -> (b z) m x y")
        bands, rest = decomposed(slices, levels=self.levels)
        fused = recomposed([largest(band)[:, None] for band in bands], rest.mean(dim=1, keepdim=True))
        whole = rearrange(fused, "(b z) 1 x y -> b 1 x y z", z=images.shape[-1])
        return torch.where(presence.any(dim=1, keepdim=True), whole.clamp(0.0, 1.0), 0.0)


def decomposed(
    images: Float[Tensor, "batch channel x y"], *, levels: int
) -> tuple[list[Float[Tensor, "batch channel _ _"]], Float[Tensor, "batch channel _ _"]]:
    """Return the bands of a Laplacian pyramid, from fine to coarse, and the low-pass rest."""
    bands: list[Tensor] = []
    finer = images
    while len(bands) < levels and min(finer.shape[2:]) >= len(KERNEL):
        coarser = _reduced(finer)
        bands.append(finer - _expanded(coarser, finer))
        finer = coarser
    return bands, finer


def recomposed(
    bands: list[Float[Tensor, "batch channel _ _"]], rest: Float[Tensor, "batch channel _ _"]
) -> Float[Tensor, "batch channel x y"]:
    """Return the images of which these are the bands: the inverse of `decomposed`, up to rounding."""
    for band in reversed(bands):
        rest = band + _expanded(rest, band)
    return rest


def _blurred(images: Tensor, scale: float = 1.0) -> Tensor:
    channels, kernel = images.shape[1], scale * images.new_tensor(KERNEL)
    for shape, pad in (((5, 1), (0, 0, 2, 2)), ((1, 5), (2, 2, 0, 0))):
        weight = kernel.reshape(1, 1, *shape).expand(channels, 1, *shape)
        images = functional.conv2d(functional.pad(images, pad, mode="reflect"), weight, groups=channels)
    return images


def _reduced(images: Tensor) -> Tensor:
    """Every second pixel of the blurred images."""
    return _blurred(images)[:, :, ::2, ::2]


def _expanded(coarse: Tensor, like: Tensor) -> Tensor:
    """The coarse images at the size of `like`, interpolated by the same kernel."""
    sparse = torch.zeros_like(like)
    sparse[:, :, ::2, ::2] = coarse
    return _blurred(sparse, scale=2.0)
