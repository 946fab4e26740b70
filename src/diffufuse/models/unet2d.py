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
    """All modalities enter one encoder as channels, each beside a channel that says where it was acquired.

    Groups of channels are normalized together, not single channels: instance normalization removes whatever is
    constant over a patch, and the presence of a modality is just that.
    """

    dims = 2

    def __init__(
        self, *, modalities: int, outputs: int, channels: Sequence[int], groups: int = 8, slices: int = 1
    ) -> None:
        """Build the network.

        Args:
            modalities: number of input images M.
            outputs: number of output channels C.
            channels: width of each level, from fine to coarse; the first works at full resolution, every other one
                halves it. Each is a multiple of `groups`.
            groups: of channels that are normalized together; fewer than there are channels.
            slices: neighboring slices that enter as channels, odd; the logits are those of the middle one.
        """
        from monai.networks.nets import DynUNet  # loads for seconds, which other models need not wait for

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
        # MONAI lists every block twice; a file of weights must hold it once.
        self.network = nn.Sequential(network.skip_layers, network.output_block)

    def forward(
        self, images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
    ) -> Float[Tensor, "batch channel x y slice"]:
        """Logits of the middle slice.

        Args:
            images: (B, M, X, Y, Z) normalized; X and Y are multiples of `stride`, Z is the number of slices.
            presence: (B, M, X, Y, Z); where it is False the image's content has no influence.
        """
        seen = torch.where(presence, images, 0.0)
        pairs = torch.stack([seen, presence.to(images.dtype)], dim=2)  # (B, M, 2, X, Y, Z)
        logits = self.network(rearrange(pairs, "b m two x y z -> b (m two z) x y"))  # (B, C, X, Y)
        return logits[..., None]  # (B, C, X, Y, 1)
