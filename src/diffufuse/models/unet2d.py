"""2-D U-Net with early fusion.

Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015
(arXiv 1505.04597). Residual units as in Kerfoot et al., STACOM 2018, through MONAI's implementation.
"""

import torch
from jaxtyping import Bool, Float
from monai.networks.nets import UNet
from torch import Tensor, nn


class UNet2D(nn.Module):
    """All modalities enter one encoder as channels, each beside a channel that says where it was acquired."""

    def __init__(self, *, modalities: int, regions: int, channels: list[int], residual_units: int) -> None:
        """Build the network.

        Args:
            modalities: number of input images M.
            regions: number of output regions R.
            channels: width of each level, from fine to coarse; every level halves the resolution.
            residual_units: convolutions with a shortcut per level; 0 for plain convolutions.
        """
        super().__init__()
        self.stride = 2 ** (len(channels) - 1)
        self.network = UNet(
            spatial_dims=2,
            in_channels=2 * modalities,
            out_channels=regions,
            channels=channels,
            strides=[2] * (len(channels) - 1),
            num_res_units=residual_units,
            norm="instance",
        )

    def forward(
        self, images: Float[Tensor, "batch modality x y"], presence: Bool[Tensor, "batch modality x y"]
    ) -> Float[Tensor, "batch region x y"]:
        """Logits per region.

        Args:
            images: (B, M, X, Y) normalized; X and Y are multiples of `stride`.
            presence: (B, M, X, Y); where it is False the image's content has no influence.
        """
        seen = torch.where(presence, images, 0.0)  # (B, M, X, Y)
        return self.network(torch.cat([seen, presence.to(images.dtype)], dim=1))  # (B, R, X, Y)
