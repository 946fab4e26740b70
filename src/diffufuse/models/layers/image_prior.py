"""A diffusion network that knows what images look like: it takes the noise out of any of them, on no condition.

It answers with the clean image (Xu et al., DM-FNet, 2025, arXiv 2506.15218, its first stage).
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.fused import Restored
from diffufuse.models.fusers.sources import completed
from diffufuse.models.layers.denoising import displayed, random_times, signed
from diffufuse.models.layers.diffusion import noised
from diffufuse.models.layers.diffusion_unet import DiffusionUNet, Sizes


class ImagePrior(nn.Module):
    """One network for the images of all modalities."""

    def __init__(self, sizes: Sizes) -> None:
        """Build the network of these sizes."""
        super().__init__()
        self.unet = DiffusionUNet(sizes, inputs=1, outputs=1)

    def clean(
        self, noisy: Float[Tensor, "batch 1 x y"], time: Float[Tensor, "*batch"]
    ) -> Float[Tensor, "batch 1 x y"]:
        """Return the clean images that noisy ones show, in -1..1.

        Args:
            noisy: (B, 1, X, Y), clean images of -1..1 noised to `time`.
            time: in [0, T], one for all or one each.
        """
        return self.unet(noisy, time.flatten().expand(len(noisy))).float()

    def restored(
        self, images: Float[Tensor, "batch modality x y 1"], presence: Bool[Tensor, "batch modality x y 1"]
    ) -> Restored:
        """Return the images of all modalities, each taken out of noise of a random time.

        Time and noise are from torch's global random state. An absent image is replaced by the others, as in a fusion.
        """
        wanted = completed(images, presence)
        alone = rearrange(signed(wanted), "b m x y 1 -> (b m) 1 x y")
        time = random_times(alone)
        clean = self.clean(noised(alone, torch.randn_like(alone), time), time)
        given = rearrange(displayed(clean), "(b m) 1 x y -> b m x y 1", b=len(images))
        return Restored(given, wanted, presence)
