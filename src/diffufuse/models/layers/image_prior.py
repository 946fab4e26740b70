"""A diffusion network that knows what images look like: it takes the noise out of any of them, on no condition."""

from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.fused import Restored
from diffufuse.models.fusers.sources import completed
from diffufuse.models.layers.denoising import displayed, random_times, signed
from diffufuse.models.layers.diffusion import clean_of, noise_of, noised
from diffufuse.models.layers.diffusion_unet import DiffusionUNet, Sizes

Answer = Literal["clean", "velocity"]


class ImagePrior(nn.Module):
    """One network for the images of all modalities."""

    def __init__(self, sizes: Sizes, *, answer: Answer) -> None:
        """Build the network.

        Args:
            sizes: of it.
            answer: what it tells of a noisy image, the clean image or the velocity, which where there is little noise
                gives a clean image as sharp as the noisy one.
        """
        super().__init__()
        self.answer = answer
        self.unet = DiffusionUNet(sizes, inputs=1, outputs=1)

    def clean(self, noisy: Float[Tensor, "batch 1 x y"], time: Float[Tensor, "*batch"]) -> Float[Tensor, "batch 1 x y"]:
        """Return the clean images that noisy ones show, in -1..1.

        Args:
            noisy: (B, 1, X, Y), clean images of -1..1 noised to `time`.
            time: in [0, T], one for all or one each.
        """
        answer = self._answer(noisy, time)
        return answer if self.answer == "clean" else clean_of(noisy, answer, time)

    def restored(
        self, images: Float[Tensor, "batch modality x y 1"], presence: Bool[Tensor, "batch modality x y 1"]
    ) -> Restored:
        """Return the images of all modalities, each taken out of noise of a random time, and of a velocity the noise.

        Time and noise are from torch's global random state. An absent image is replaced by the others, as in a fusion.
        """
        wanted = completed(images, presence)
        alone = rearrange(signed(wanted), "b m x y 1 -> (b m) 1 x y")
        time, noise = random_times(alone), torch.randn_like(alone)
        noisy = noised(alone, noise, time)
        answer = self._answer(noisy, time)

        def each(part: Tensor) -> Tensor:
            return rearrange(part, "(b m) 1 x y -> b m x y 1", b=len(images))

        if self.answer == "clean":
            return Restored(each(displayed(answer)), wanted, presence)
        clean, seen = clean_of(noisy, answer, time), noise_of(noisy, answer, time)
        return Restored(each(displayed(clean)), wanted, presence, noise=(each(seen), each(noise)))

    def _answer(self, noisy: Tensor, time: Tensor) -> Tensor:
        return self.unet(noisy, time.flatten().expand(len(noisy))).float()
