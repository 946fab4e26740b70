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
    """All modalities enter one encoder as channels, each beside a channel that says where it was acquired.

    Groups of channels are normalized together, not single channels: instance normalization removes whatever is
    constant over a patch, and the presence of a modality is just that.
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
            channels: width of each level, from fine to coarse; the first works at full resolution. Each is a multiple
                of `groups`.
            strides: between a level and the next, along x, y and z; 2 everywhere by default. Slices that are thicker
                than pixels are wide are halved less often.
            groups: of channels that are normalized together; fewer than there are channels.
        """
        from monai.networks.nets import DynUNet  # loads for seconds, which other models need not wait for

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
        # MONAI lists every block twice; a file of weights must hold it once.
        self.network = nn.Sequential(network.skip_layers, network.output_block)

    def forward(
        self, images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
    ) -> Float[Tensor, "batch channel x y z"]:
        """Logits of every slice.

        Args:
            images: (B, M, X, Y, Z) normalized; X, Y and Z are multiples of `stride`.
            presence: (B, M, X, Y, Z); where it is False the image's content has no influence.
        """
        seen = torch.where(presence, images, 0.0)
        pairs = torch.stack([seen, presence.to(images.dtype)], dim=2)
        return self.network(rearrange(pairs, "b m two x y z -> b (m two) x y z"))  # (B, C, X, Y, Z)
