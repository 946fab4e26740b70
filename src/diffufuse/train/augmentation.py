"""Data augmentation of training patches, batch-wise."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from diffufuse.plan.plans import plan_modalities
from diffufuse.train.batches import Batch

Augment: TypeAlias = Callable[..., Batch]

ROTATION_DEG = 15.0
SCALE = 0.15
GAIN = 0.1
SHIFT = 0.1
GAMMA = 0.2
NOISE_SD = 0.05


def augmentation_of(plan: Mapping[str, Any]) -> Augment:
    """The augmentation of a plan: that of gray levels where all of its images have the `display` normalization."""
    methods = {block["normalization"]["method"] for block in plan_modalities(plan).values()}
    return partial(augment, gray_levels=methods == {"display"})


def augment(batch: Batch, *, generator: torch.Generator, gray_levels: bool = False) -> Batch:
    """Random flip, rotation and scaling in the axial plane, brightness, gamma and Gaussian noise.

    The spatial transform is drawn per patch and shared by images, presence and reference. Brightness, gamma and noise
    are drawn per image; the clean image gets the same brightness and gamma, and no noise. A patch of several slices is
    also mirrored along z.

    Args:
        batch: normalized values.
        generator: the only source of randomness, on the CPU.
        gray_levels: the values are gray levels in 0..1 and remain so: gain and gamma alone, clipped at white, which
            leave black as it is. There is no noise, because the edges of the images are what a fused image has to
            show, and the edges of noise would be among them.
    """
    count, modalities = batch.images.shape[:2]
    field = _random_field(count, batch.images.shape[2:4], generator).to(batch.images.device)
    mirrored = torch.rand(count, generator=generator) < 0.5
    presence = _moved(batch.presence.to(batch.images.dtype), field, "nearest", mirrored) > 0.5
    reference = _moved(batch.reference, field, "nearest", mirrored)
    drawn = [part.to(batch.images.device) for part in _random_brightness(count, modalities, generator)]
    brightened = partial(_bright_gray if gray_levels else _bright, gain=drawn[0], shift=drawn[1], gamma=drawn[2])
    clean = brightened(_moved(batch.clean, field, "bilinear", mirrored))
    images = clean
    if batch.images is not batch.clean:
        images = brightened(_moved(batch.images, field, "bilinear", mirrored))
    if not gray_levels:
        noise_sd = torch.rand(drawn[0].shape, generator=generator) * NOISE_SD
        images = images + (torch.randn(images.shape, generator=generator) * noise_sd).to(images.device)
    return replace(
        batch,
        images=torch.where(presence, images, 0.0),
        clean=torch.where(presence, clean, 0.0),
        presence=presence,
        reference=reference,
    )


def _moved(values: Tensor, field: Tensor, mode: str, mirrored: Tensor) -> Tensor:
    """Values (B, C, X, Y, Z) resampled by an axial field, the same for all slices of a patch."""
    if not values.numel():  # the reference of an image
        return values
    flat = rearrange(values, "b c x y z -> b (c z) x y")
    moved = F.grid_sample(flat, field, mode=mode, padding_mode="zeros", align_corners=False)
    moved = rearrange(moved, "b (c z) x y -> b c x y z", c=values.shape[1])
    if values.shape[-1] == 1:
        return moved
    return torch.where(mirrored.to(values.device).view(-1, 1, 1, 1, 1), moved.flip(-1), moved)


def _bright(values: Tensor, gain: Tensor, shift: Tensor, gamma: Tensor) -> Tensor:
    """Gamma about zero, sign(v) |v|^gamma, then gain and shift; gamma 1 changes nothing."""
    adjusted = torch.sign(values) * (values.abs() + 1e-6) ** gamma
    return adjusted * gain + shift


def _bright_gray(values: Tensor, gain: Tensor, shift: Tensor, gamma: Tensor) -> Tensor:
    """Gamma, then gain, of gray levels: 0 stays 0, and nothing is brighter than 1."""
    return (values.clamp(0, 1) ** gamma * gain).clamp(max=1)


def _random_field(count: int, plane: torch.Size, generator: torch.Generator) -> Float[Tensor, "batch x y 2"]:
    angle = (torch.rand(count, generator=generator) * 2 - 1) * math.radians(ROTATION_DEG)
    zoom = 1 + (torch.rand(count, generator=generator) * 2 - 1) * SCALE
    mirror = torch.randint(0, 2, (2, count), generator=generator) * 2.0 - 1
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = cos * mirror[0], -sin
    matrix[:, 1, 0], matrix[:, 1, 1] = sin, cos * mirror[1]
    return F.affine_grid(matrix, [count, 1, *plane], align_corners=False)


def _random_brightness(count: int, modalities: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    def drawn(extent: float) -> Tensor:
        return (torch.rand((count, modalities, 1, 1, 1), generator=generator) * 2 - 1) * extent

    return 1 + drawn(GAIN), drawn(SHIFT), torch.exp(drawn(GAMMA))
