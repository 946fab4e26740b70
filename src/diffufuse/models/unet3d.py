"""3-D U-Net with early fusion: the volumetric baseline.

Çiçek et al.: 3D U-Net: Learning Dense Volumetric Segmentation from Sparse Annotation, MICCAI 2016
(arXiv 1606.06650), with the anisotropic strides of nnU-Net (Isensee et al., Nature Methods 2021) and the residual
encoder units of Futrega et al., 2021 (arXiv 2110.03352), through MONAI's implementation.
"""

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn


class UNet3D(nn.Module):
    """U-Net with all modalities and their presence masks as input channels of one encoder.

    It uses group normalization, as instance normalization removes what is constant over a patch, such as the presence
    of a modality.
    """

    dims = 3

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]] | None = None,
        groups: int = 8,
    ) -> None:
        """Build the network.

        Args:
            modalities: number of input images M.
            outputs: number of output channels C.
            channels: channels per level, from fine to coarse; the first is at full resolution. Multiples of `groups`.
            strides: stride from each level to the next, along x, y and z; 2 by default. Anisotropic images use fewer
                strides along z.
            groups: number of groups of group normalization; less than the number of channels.
        """
        from monai.networks.nets import DynUNet  # imported here, as MONAI loads slowly

        super().__init__()
        steps = [list(step) for step in strides] if strides else [[2, 2, 2]] * (len(channels) - 1)
        self.stride = tuple(math.prod(axis) for axis in zip(*steps, strict=True))
        network = DynUNet(
            spatial_dims=3,
            in_channels=2 * modalities,
            out_channels=outputs,
            kernel_size=[[3, 3, 3]] * len(channels),
            strides=[[1, 1, 1], *steps],
            upsample_kernel_size=steps,
            filters=list(channels),
            norm_name=("group", {"num_groups": groups}),
            res_block=True,
        )
        # MONAI registers every block twice; the state dict must contain it once.
        self.network = nn.Sequential(network.skip_layers, network.output_block)

    def forward(
        self, images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
    ) -> Float[Tensor, "batch channel x y z"]:
        """Return the logits of every slice.

        Args:
            images: (B, M, X, Y, Z) normalized; X, Y and Z are multiples of `stride`.
            presence: (B, M, X, Y, Z); where it is False the image is ignored.
        """
        masked = torch.where(presence, images, 0.0)
        pairs = torch.stack([masked, presence.to(images.dtype)], dim=2)
        return self.network(rearrange(pairs, "b m two x y z -> b (m two) x y z"))  # (B, C, X, Y, Z)
