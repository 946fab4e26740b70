"""Random changes of training slices that leave the anatomy plausible, on whole batches at once."""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from torch import Tensor

ROTATION_DEG = 15.0
SCALE = 0.15
GAIN = 0.1
SHIFT = 0.1


def augment(
    images: Float[Tensor, "batch modality x y"],
    presence: Bool[Tensor, "batch modality x y"],
    reference: Float[Tensor, "batch region x y"],
    *,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Flip, rotate, scale and change the brightness of every slice of a batch, each by its own draw.

    Args:
        images: normalized values.
        presence: where each modality was acquired; moves with its image.
        reference: 0 or 1; moves with the images.
        generator: the only source of randomness.

    Returns:
        Images, presence and reference of the same shapes and kinds.
    """
    field = _random_field(images.shape, generator).to(images.device)
    moved = F.grid_sample(images, field, mode="bilinear", padding_mode="zeros", align_corners=False)
    present = F.grid_sample(presence.to(images.dtype), field, mode="nearest", align_corners=False) > 0.5
    target = F.grid_sample(reference, field, mode="nearest", align_corners=False)
    gain, shift = _random_brightness(images.shape, generator)
    bright = moved * gain.to(images.device) + shift.to(images.device)
    return torch.where(present, bright, 0.0), present, target


def _random_field(shape: torch.Size, generator: torch.Generator) -> Float[Tensor, "batch x y 2"]:
    batch = shape[0]
    angle = (torch.rand(batch, generator=generator) * 2 - 1) * math.radians(ROTATION_DEG)
    zoom = 1 + (torch.rand(batch, generator=generator) * 2 - 1) * SCALE
    mirror = torch.randint(0, 2, (2, batch), generator=generator) * 2.0 - 1
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    matrix = torch.zeros(batch, 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = cos * mirror[0], -sin
    matrix[:, 1, 0], matrix[:, 1, 1] = sin, cos * mirror[1]
    return F.affine_grid(matrix, list(shape), align_corners=False)


def _random_brightness(shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    per_image = (shape[0], shape[1], 1, 1)
    gain = 1 + (torch.rand(per_image, generator=generator) * 2 - 1) * GAIN
    shift = (torch.rand(per_image, generator=generator) * 2 - 1) * SHIFT
    return gain, shift
