"""2-D U-Net with early fusion: the slice-wise baseline.

Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015
(arXiv 1505.04597). Residual encoder units as in Futrega et al., Optimized U-Net for Brain Tumor Segmentation,
2021 (arXiv 2110.03352), through MONAI's implementation.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn


class UNet2D(nn.Module):
    """U-Net with all modalities and their presence masks as input channels of one encoder.

    It uses group normalization, as instance normalization removes what is constant over a patch, such as the presence
    of a modality.
    """

    dims = 2

    def __init__(
        self, *, modalities: int, outputs: int, channels: Sequence[int], groups: int = 8, slices: int = 1
    ) -> None:
        """Build the network.

        Args:
            modalities: number of input images M.
            outputs: number of output channels C.
            channels: channels per level, from fine to coarse; the first is at full resolution, every other one halves
                it. Multiples of `groups`.
            groups: number of groups of group normalization; less than the number of channels.
            slices: number of neighboring slices that enter as channels, odd; the logits are those of the middle one.
        """
        from monai.networks.nets import DynUNet  # imported here, as MONAI loads slowly

        super().__init__()
        steps = [2] * (len(channels) - 1)
        self.stride = (2 ** len(steps), 2 ** len(steps), 1)
        network = DynUNet(
            spatial_dims=2,
            in_channels=2 * modalities * slices,
            out_channels=outputs,
            kernel_size=[3] * len(channels),
            strides=[1, *steps],
            upsample_kernel_size=steps,
            filters=list(channels),
            norm_name=("group", {"num_groups": groups}),
            res_block=True,
        )
        # MONAI registers every block twice; the state dict must contain it once.
        self.network = nn.Sequential(network.skip_layers, network.output_block)

    def forward(
        self, images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
    ) -> Float[Tensor, "batch channel x y slice"]:
        """Return the logits of the middle slice.

        Args:
            images: (B, M, X, Y, Z) normalized; X and Y are multiples of `stride`, Z is the number of slices.
            presence: (B, M, X, Y, Z); where it is False the image is ignored.
        """
        masked = torch.where(presence, images, 0.0)
        pairs = torch.stack([masked, presence.to(images.dtype)], dim=2)  # (B, M, 2, X, Y, Z)
        logits = self.network(rearrange(pairs, "b m two x y z -> b (m two z) x y"))  # (B, C, X, Y)
        return logits[..., None]  # (B, C, X, Y, 1)
