"""DM-FNet: a diffusion network, and a head that fuses by its features.

DM-FNet, 2025 (arXiv 2506.15218), implemented from a description of it; docs/method.md lists the decisions.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.dmfnet.attention import Weights
from diffufuse.models.dmfnet.head import FusionHead
from diffufuse.models.fused import Fused, Restored
from diffufuse.models.layers.denoising import signed
from diffufuse.models.layers.diffusion import T, noised
from diffufuse.models.layers.diffusion_unet import Sizes
from diffufuse.models.layers.image_prior import ImagePrior
from diffufuse.models.layers.noise import Noise, drawn
from diffufuse.models.pair import PairFuser

LAST = 2000  # the published number of times; 0 is without noise


class DMFNet(PairFuser):
    """The network of both stages: first it learns to take noise out of images, then the head alone learns to fuse."""

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
        times: Sequence[int] = (5, 10, 20),
        weights: Weights = "bounded",
    ) -> None:
        """Build the network; the defaults are published.

        Args:
            modalities: 2.
            outputs: 1, the fused image.
            width: channels at full size; this and the following four as for `Sizes`.
            multipliers: of the levels.
            blocks: per level.
            groups: of group normalization.
            dropout: of the first stage.
            times: of 2000, to which images are noised before their features are read.
            weights: by which features are fused, as for `AdaptiveFusion`.
        """
        super().__init__()
        sizes = Sizes(width, multipliers, blocks, groups, dropout)
        self.stride, self.times = sizes.stride, tuple(time * T / LAST for time in times)
        self.prior = ImagePrior(sizes, answer="clean")
        self.head = FusionHead(sizes.widths[::-1], times=len(times), weights=weights)

    def restored(self, images: Float[Tensor, "batch 2 x y 1"], presence: Bool[Tensor, "batch 2 x y 1"]) -> Restored:
        """Return the images taken out of noise, in which the first stage is trained; see `ImagePrior.restored`."""
        return self.prior.restored(images, presence)

    def first_stage(self) -> Iterable[nn.Parameter]:
        """The weights of the diffusion network."""
        return self.prior.parameters()

    def second_stage(self) -> Iterable[nn.Parameter]:
        """The weights of the head."""
        return self.head.parameters()

    def fuse_pair(self, pair: Float[Tensor, "batch 2 x y"], noise: Noise = drawn) -> Fused:
        """Return the fused image."""
        return Fused(self.head(self.features(pair, noise))[..., None])

    def features(
        self, pair: Float[Tensor, "batch 2 x y"], noise: Noise = drawn
    ) -> list[Float[Tensor, "batch 2 times_width level_x level_y"]]:
        """Return the features of both images at all times, from coarse to fine, without gradient.

        They are those of a network in evaluation mode, whatever the mode of the whole.
        """
        images, times = signed(pair), pair.new_tensor(self.times)
        noisy = torch.stack([noised(images, noise(images), time) for time in times])
        alone = rearrange(noisy, "t b m x y -> (t b m) 1 x y")
        with _held(self.prior):
            features = self.prior.unet.features(alone, times.repeat_interleave(len(alone) // len(times)))
        return [rearrange(part, "(t b m) w x y -> b m (t w) x y", t=len(times), m=2) for part in features]


@contextmanager
def _held(network: nn.Module) -> Iterator[None]:
    """Let a network neither learn nor drop anything within the context."""
    learns = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(learns)
