"""TFS-Diff, adapted to two images: diffusion that draws the fused image on the condition of both sources.

Xu et al.: Simultaneous Tri-Modal Medical Image Fusion and Super-Resolution using Conditional Diffusion Model, MICCAI
2024 (arXiv 2404.17357). The original fuses three color images of low resolution and learns from fused images made
elsewhere.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.fused import Fused, Restored
from diffufuse.models.fusers.sources import completed
from diffufuse.models.layers import diffusion
from diffufuse.models.layers.denoising import countdown, displayed, random_times, signed
from diffufuse.models.layers.diffusion_unet import DiffusionUNet, Sizes
from diffufuse.models.layers.noise import Noise, drawn
from diffufuse.models.pair import PairFuser

REDUCTION = 4


class TFSDiff(PairFuser):
    """A network that tells the velocity of the noise in the fused image, of which its sources are further channels."""

    is_random = True

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 4, 8, 8),
        blocks: int = 2,
        groups: int = 32,
        dropout: float = 0.2,
        attention: Sequence[int] = (4,),
        steps: int = 50,
        target: Literal["maximum", "mean"] = "maximum",
    ) -> None:
        """Build the network; the defaults are published, but for `steps` and `target`.

        Args:
            modalities: 2.
            outputs: 1, the fused image.
            width: channels at full size; this and the following five as for `Sizes`.
            multipliers: of the levels.
            blocks: per level.
            groups: of group normalization.
            dropout: of the training.
            attention: levels with attention.
            steps: of the sampler.
            target: what of the two sources at each pixel is learned as the fused image, as there is no true one.
        """
        super().__init__()
        sizes = Sizes(width, multipliers, blocks, groups, dropout, attention)
        self.stride, self.steps, self.target = sizes.stride, steps, target
        channels = modalities + 1
        self.gate = _Gate(channels)
        self.unet = DiffusionUNet(sizes, inputs=channels, outputs=1)

    def restored(self, images: Float[Tensor, "batch 2 x y 1"], presence: Bool[Tensor, "batch 2 x y 1"]) -> Restored:
        """Return the target taken out of noise of a random time, and the noise that was seen in it.

        Time and noise are from torch's global random state.
        """
        pair = completed(images, presence)[..., 0]
        wanted = pair.amax(dim=1, keepdim=True) if self.target == "maximum" else pair.mean(dim=1, keepdim=True)
        time, noise = random_times(pair), torch.randn_like(wanted)
        noisy = diffusion.noised(signed(wanted), noise, time)
        velocity = self._velocity(noisy, pair, time)
        clean, seen = diffusion.clean_of(noisy, velocity, time), diffusion.noise_of(noisy, velocity, time)
        given, anywhere = displayed(clean)[..., None], presence.any(dim=1, keepdim=True)
        return Restored(given, wanted[..., None], anywhere, noise=(seen[..., None], noise[..., None]))

    def fuse_pair(self, pair: Float[Tensor, "batch 2 x y"], noise: Noise = drawn) -> Fused:
        """Return the fused image into which noise is turned, by deterministic steps (DDIM)."""
        fused = noise(pair[:, :1])
        for time, earlier in countdown(self.steps, device=pair.device):
            fused = diffusion.step_back(fused, self._velocity(fused, pair, time), time, earlier)
        return Fused(displayed(fused)[..., None])

    def _velocity(self, noisy: Tensor, pair: Tensor, time: Tensor) -> Tensor:
        seen = self.gate(torch.cat([signed(pair), noisy], dim=1))
        return self.unet(seen, time.flatten().expand(len(noisy))).float()


class _Gate(nn.Module):
    """Squeeze and excitation of the channels of the input (Hu et al., arXiv 1709.01507): the "tri-modal attention"."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(channels // REDUCTION, 1)
        self.weights = nn.Sequential(nn.Linear(channels, narrow), nn.ReLU(), nn.Linear(narrow, channels), nn.Sigmoid())

    def forward(self, images: Tensor) -> Tensor:
        return images * self.weights(images.mean(dim=(2, 3)))[..., None, None]
