"""What a fuser tells of an image that it fused."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Fused:
    """A fused image and what it was made of.

    Attributes:
        fused: gray levels in 0..1, 0 where no modality is present.
        base: features of every modality that should agree; those of an absent one are 0. None of a fuser without.
        detail: features of every modality that should differ, likewise.
    """

    fused: Float[Tensor, "batch 1 x y z"]
    base: Float[Tensor, "batch modality width fx fy"] | None = None
    detail: Float[Tensor, "batch modality width fx fy"] | None = None
