"""Known misalignment of training pairs: the second image is moved, and the field that brings it back is known."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from diffufuse.collective import drawn
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
        batch: of slices, with two images each; the samples of this process.
        settings: `degrees`, `translation_mm` and `bend_mm`, as for `displacement_mm`.
        generator: the only source of randomness, on the CPU.
    """
    seeds = drawn(partial(torch.randint, 2**31), (len(batch.images),), generator)
    fields = [
        _field(batch, spacing, settings, np.random.default_rng(seed))
        for spacing, seed in zip(batch.spacing_mm.cpu().numpy(), seeds.tolist(), strict=True)
    ]
    field = torch.from_numpy(np.stack(fields)).to(batch.images.device)
    images, presence = batch.images.clone(), batch.presence.clone()
    # A place is absent where most of its value would be from beyond the image or of what is absent.
    presence[:, 1:, ..., 0] = moved(batch.presence[:, 1:, ..., 0].float(), field, outside="zeros") > HALF
    images[:, 1:, ..., 0] = moved(batch.images[:, 1:, ..., 0], field)
    return Misaligned(replace(batch, images=torch.where(presence, images, 0.0), presence=presence), inverse(field))


def _field(
    batch: Batch, spacing_mm: np.ndarray, settings: Mapping[str, float], generator: np.random.Generator
) -> Float32[np.ndarray, "2 x y"]:
    """A displacement in pixels."""
    plane, spacing = tuple(batch.images.shape[2:4]), tuple(spacing_mm.tolist())
    field_mm = displacement_mm(plane, **settings, spacing_mm=spacing, generator=generator)
    return (field_mm / spacing_mm[:2, None, None]).astype(np.float32)
