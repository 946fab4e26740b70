"""What a fuser tells of an image that it fused, and of images that it restored on its way to learn to fuse."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Fused:
    """A fused image and what it was made of.

    Attributes:
        fused: gray levels, 0 where no modality is present; of a network in training they may be outside of 0..1.
        base: features of every modality that should agree; those of an absent one are 0. None of a fuser without.
        detail: features of every modality that should differ, likewise.
        flow: where each pixel takes its value of the second image from, as a displacement along x and y in pixels; None
            of a fuser that registers nothing.
        modality: of a network in training, logits of the modality of each image, from features that should tell it and
            from features that should not; None of a fuser without.
    """

    fused: Float[Tensor, "batch 1 x y z"]
    base: Float[Tensor, "batch modality width fx fy"] | None = None
    detail: Float[Tensor, "batch modality width fx fy"] | None = None
    flow: Float[Tensor, "batch 2 x y"] | None = None
    modality: tuple[Float[Tensor, "batch 2 2"], Float[Tensor, "batch 2 2"]] | None = None


@dataclass(frozen=True)
class Restored:
    """Images that a network gave back from their features or from noise, beside those that it should have given.

    Attributes:
        given: of the network, on the display scale.
        wanted: the same images as they are.
        presence: where they are.
        base: as of `Fused`; None of a network without.
        detail: likewise.
        noise: the noise that the network saw in the noisy images, and the noise that was there; None of a network that
            predicts none.
    """

    given: Float[Tensor, "batch image x y z"]
    wanted: Float[Tensor, "batch image x y z"]
    presence: Bool[Tensor, "batch image x y z"]
    base: Float[Tensor, "batch image width fx fy"] | None = None
    detail: Float[Tensor, "batch image width fx fy"] | None = None
    noise: tuple[Float[Tensor, "batch image x y z"], Float[Tensor, "batch image x y z"]] | None = None
