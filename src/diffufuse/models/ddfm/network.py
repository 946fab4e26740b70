"""DDFM: an image drawn from a diffusion prior, which at each step is corrected by what its sources say.

Zhao et al.: DDFM: Denoising Diffusion Model for Multi-Modality Image Fusion, ICCV 2023 (arXiv 2303.06840).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffufuse.models.ddfm.em import Penalty, Scales, corrected
from diffufuse.models.fused import Fused, Restored
from diffufuse.models.layers.denoising import countdown, displayed, signed
from diffufuse.models.layers.diffusion import drawn_back
from diffufuse.models.layers.diffusion_unet import Sizes
from diffufuse.models.layers.image_prior import ImagePrior
from diffufuse.models.layers.noise import Noise, drawn
from diffufuse.models.pair import PairFuser


class DDFM(PairFuser):
    """Our own small prior, trained on the images of all modalities, and the sampler that fuses by it."""

    is_random = True

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        width: int = 128,
        multipliers: Sequence[int] = (1, 1, 1, 1, 2),
        blocks: int = 2,
        groups: int = 32,
        dropout: float = 0.2,
        steps: int = 100,
        smoothness: float = 0.5,
        splitting: float = 0.001,
        scales: Literal["equal", "learned"] = "equal",
    ) -> None:
        """Build the prior; the defaults of the sampler are published, but for `scales`.

        Args:
            modalities: 2.
            outputs: 1, the fused image.
            width: channels at full size; this and the following four as for `Sizes`.
            multipliers: of the levels.
            blocks: per level.
            groups: of group normalization.
            dropout: of the training.
            steps: of the sampler.
            smoothness: of the correction, as for `Penalty`.
            splitting: likewise.
            scales: `equal`, both sources have the same mean variance, 1; `learned`, the published form, each step makes
                them more likely, by which the source that is nearer becomes nearer still.
        """
        super().__init__()
        sizes = Sizes(width, multipliers, blocks, groups, dropout)
        self.stride, self.steps, self.scales = sizes.stride, steps, scales
        self.penalty = Penalty(smoothness, splitting)
        self.prior = ImagePrior(sizes, answer="velocity")

    def restored(self, images: Float[Tensor, "batch 2 x y 1"], presence: Bool[Tensor, "batch 2 x y 1"]) -> Restored:
        """Return the images taken out of noise, in which the prior is trained; see `ImagePrior.restored`."""
        return self.prior.restored(images, presence)

    def fuse_pair(self, pair: Float[Tensor, "batch 2 x y"], noise: Noise = drawn) -> Fused:
        """Return an image drawn of the prior and the likelihood."""
        sources = signed(pair)
        fused = noise(sources[:, :1])
        scales = Scales(*(torch.ones_like(fused[..., :1, :1]) for _ in range(2)))
        for time, earlier in countdown(self.steps, device=pair.device):
            clean, after = corrected(self.prior.clean(fused, time), sources, scales, self.penalty)
            scales = after if self.scales == "learned" else scales
            fused = drawn_back(fused, clean, noise(fused), time, earlier)
        return Fused(displayed(fused)[..., None])
