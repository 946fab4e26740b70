"""Known misalignment of training pairs: the second image of each is moved, and by which field it comes back is known."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from diffufuse.conditions.corruptions.warp import displacement_mm
from diffufuse.models.layers.warping import inverse, moved
from diffufuse.train.batches import Batch

HALF = 0.5


@dataclass(frozen=True)
class Misaligned:
    """A batch of pairs whose second image was moved.

    Attributes:
        batch: with the moved image and its presence; all else is as it was.
        back: the field that moves the second image back, in pixels; see `layers.warping.moved`.
    """

    batch: Batch
    back: Float[Tensor, "batch 2 x y"]


def misaligned(batch: Batch, settings: Mapping[str, float], *, generator: torch.Generator) -> Misaligned:
    """Move the second image of every pair by a random displacement of its own.

    Args:
        batch: of slices, with two images each.
        settings: `degrees`, `translation_mm` and `bend_mm`, as for `displacement_mm`.
        generator: the only source of randomness, on the CPU.
    """
    seed = int(torch.randint(2**31, (1,), generator=generator))
    field = _fields(batch, settings, np.random.default_rng(seed)).to(batch.images.device)
    images, presence = batch.images.clone(), batch.presence.clone()
    images[:, 1:, ..., 0] = moved(batch.images[:, 1:, ..., 0], field)
    # A place where part of the value is from beyond the image is absent.
    presence[:, 1:, ..., 0] = moved(batch.presence[:, 1:, ..., 0].float(), field, outside="zeros") > HALF
    images[:, 1:] *= presence[:, 1:]
    return Misaligned(replace(batch, images=images, presence=presence), inverse(field))


def _fields(
    batch: Batch, settings: Mapping[str, float], generator: np.random.Generator
) -> Float[Tensor, "batch 2 x y"]:
    """A displacement in pixels for each sample."""
    fields = []
    for spacing in batch.spacing_mm.cpu().numpy():
        drawn = displacement_mm(
            tuple(batch.images.shape[2:4]), **settings, spacing_mm=tuple(spacing.tolist()), generator=generator
        )
        fields.append(drawn / spacing[:2, None, None])
    return torch.from_numpy(np.stack(fields).astype(np.float32))
