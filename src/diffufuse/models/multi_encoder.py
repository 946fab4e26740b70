"""Multi-encoder CNN: one encoder per modality, concatenation at every level, one decoder.

A baseline that the DiffuFuseMed paper names but does not define; equal to DiffuFuseMed without diffusion, cross-modal
attention and gates. Havaei et al., HeMIS, MICCAI 2016 (arXiv 1607.05194), fused such encoders by
their mean and variance; here a learned token replaces an absent modality.
"""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.pyramid import (
    Decoder,
    Encoder,
    Fusion,
    encode_all,
    encoder_inputs,
    full_strides,
    patch_multiple,
)


class MultiEncoderCNN(nn.Module):
    """One encoder per modality; feature maps are fused at each level, with learned tokens for absent modalities."""

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        widths: Sequence[int],
        strides: Sequence[Sequence[int]] | None = None,
        dims: int = 2,
        slices: int = 1,
    ) -> None:
        """Build the network.

        Args:
            modalities: number of input images M.
            outputs: number of output channels C.
            widths: channels per level, from fine to coarse.
            strides: stride from each level to the next, per axis; 2 by default.
            dims: 2 for slices, 3 for volumes.
            slices: number of neighboring slices that enter a 2-D network as channels, odd.
        """
        super().__init__()
        steps = full_strides(strides, levels=len(widths), dims=dims)
        self.dims, self.stride = dims, patch_multiple(steps, dims=dims)
        inputs = 2 * slices if dims == 2 else 2
        shape: dict[str, Any] = {"widths": widths, "strides": steps, "dims": dims}
        self.encoders = nn.ModuleList(Encoder(inputs, **shape) for _ in range(modalities))
        self.fusions = nn.ModuleList(Fusion(modalities, width, dims=dims) for width in widths)
        self.decoder = Decoder(outputs, **shape)

    def forward(
        self, images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
    ) -> Float[Tensor, "batch channel x y slice"]:
        """Return the logits, of the middle slice in 2-D, of every slice in 3-D.

        Args:
            images: (B, M, X, Y, Z) normalized; X, Y and Z are multiples of `stride`.
            presence: (B, M, X, Y, Z); where it is False the image is ignored.
        """
        present = presence.flatten(2).any(dim=2)  # (B, M)
        levels = encode_all(self.encoders, encoder_inputs(images, presence, dims=self.dims))
        logits = self.decoder([fusion(level, present) for fusion, level in zip(self.fusions, levels, strict=True)])
        return logits[..., None] if self.dims == 2 else logits
