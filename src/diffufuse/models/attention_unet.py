"""Attention U-Net with early fusion, slice-wise or volumetric.

Oktay et al.: Attention U-Net: Learning Where to Look for the Pancreas, MIDL 2018 (arXiv 1804.03999), through MONAI's
implementation with another normalization.
"""

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

PER_CHANNEL = (nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm2d, nn.InstanceNorm3d)


class AttentionUNet(nn.Module):
    """A U-Net with additive attention gates on its skip connections.

    skip = alpha x with alpha = sigmoid(psi(relu(W_x x + W_g g))), where x is the encoder's feature map and g the
    upsampled map of the next coarser level.
    """

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]] | None = None,
        groups: int = 8,
        dims: int = 2,
        slices: int = 1,
    ) -> None:
        """Build the network.

        Args:
            modalities: number of input images M.
            outputs: number of output channels C.
            channels: channels per level, from fine to coarse; the first is at full resolution.
            strides: stride from each level to the next, per axis; 2 by default.
            groups: number of groups of group normalization; reduced to a divisor of the channels.
            dims: 2 for slices, 3 for volumes.
            slices: number of neighboring slices that enter a 2-D network as channels, odd.
        """
        from monai.networks.nets import AttentionUnet  # imported here, as MONAI loads slowly

        super().__init__()
        steps = [tuple(step) for step in strides] if strides else [(2,) * dims] * (len(channels) - 1)
        self.dims = dims
        self.stride = (*(math.prod(axis) for axis in zip(*steps, strict=True)), 1)[:3]
        self.network = AttentionUnet(
            spatial_dims=dims,
            in_channels=2 * modalities * slices,
            out_channels=outputs,
            channels=list(channels),
            strides=steps,  # type: ignore[arg-type]  # MONAI takes a stride per axis, too
        )
        normalize_in_groups(self.network, groups=groups)

    def forward(
        self, images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
    ) -> Float[Tensor, "batch channel x y slice"]:
        """Return the logits, of the middle slice in 2-D, of every slice in 3-D.

        Args:
            images: (B, M, X, Y, Z) normalized; X, Y and Z are multiples of `stride`, in 2-D Z is the number of slices.
            presence: (B, M, X, Y, Z); where it is False the image is ignored.
        """
        masked = torch.where(presence, images, 0.0)
        pairs = torch.stack([masked, presence.to(images.dtype)], dim=2)  # (B, M, 2, X, Y, Z)
        if self.dims == 3:
            return self.network(rearrange(pairs, "b m two x y z -> b (m two) x y z"))  # (B, C, X, Y, Z)
        return self.network(rearrange(pairs, "b m two x y z -> b (m two z) x y"))[..., None]  # (B, C, X, Y, 1)


def normalize_in_groups(module: nn.Module, *, groups: int) -> None:
    """Replace batch and instance normalization by group normalization, in place.

    MONAI's gates and convolutions use batch normalization, whose statistics differ between training and inference for
    a batch of one volume; its merging convolutions use instance normalization, which removes what is constant over a
    patch, such as the presence of a modality. The single channel of psi has no normalization in the paper.

    Args:
        module: any module.
        groups: number of groups; reduced to a divisor of the channels.
    """
    for name, child in module.named_children():
        if isinstance(child, PER_CHANNEL):
            width = child.num_features
            setattr(module, name, nn.GroupNorm(math.gcd(groups, width), width) if width > 1 else nn.Identity())
        else:
            normalize_in_groups(child, groups=groups)
