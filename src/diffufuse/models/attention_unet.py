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
    """A U-Net whose skips pass an additive gate: alpha = sigmoid(psi(relu(W_x x + W_g g))), skip = alpha x.

    Here x is the encoder's map and g the upsampled map of the level below.
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
            channels: width of each level, from fine to coarse; the first works at full resolution.
            strides: between a level and the next, per axis; 2 everywhere by default.
            groups: of channels that are normalized together, as many as divide a level's width.
            dims: 2 for slice by slice, 3 for volumes.
            slices: neighboring slices that a 2-D network reads as channels, odd.
        """
        from monai.networks.nets import AttentionUnet  # loads for seconds, which other models need not wait for

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
        """Logits of the middle slice in 2-D, of every slice in 3-D.

        Args:
            images: (B, M, X, Y, Z) normalized; X, Y and Z are multiples of `stride`, in 2-D Z is the number of slices.
            presence: (B, M, X, Y, Z); where it is False the image's content has no influence.
        """
        seen = torch.where(presence, images, 0.0)
        pairs = torch.stack([seen, presence.to(images.dtype)], dim=2)  # (B, M, 2, X, Y, Z)
        if self.dims == 3:
            return self.network(rearrange(pairs, "b m two x y z -> b (m two) x y z"))  # (B, C, X, Y, Z)
        return self.network(rearrange(pairs, "b m two x y z -> b (m two z) x y"))[..., None]  # (B, C, X, Y, 1)


def normalize_in_groups(module: nn.Module, *, groups: int) -> None:
    """Replace, in place, every normalization that a batch of one or a constant channel would spoil.

    MONAI's gates and convolutions use batch normalization, whose statistics differ between training and inference
    when a batch holds one volume; its merging convolutions use instance normalization, which removes what is constant
    over a patch, such as the presence of a modality. The single channel of psi has no normalization in the paper.

    Args:
        module: any module.
        groups: of channels that are normalized together, as many as divide the number of channels.
    """
    for name, child in module.named_children():
        if isinstance(child, PER_CHANNEL):
            width = child.num_features
            setattr(module, name, nn.GroupNorm(math.gcd(groups, width), width) if width > 1 else nn.Identity())
        else:
            normalize_in_groups(child, groups=groups)
