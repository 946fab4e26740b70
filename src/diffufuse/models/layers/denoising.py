"""Images as a diffusion network sees them, in -1..1, and the times of their noise."""

import torch
from jaxtyping import Float
from torch import Tensor

from diffufuse.models.layers.diffusion import T


def signed(images: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return gray levels of 0..1 as values of -1..1."""
    return 2 * images - 1


def displayed(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return values of -1..1 as gray levels of 0..1; inverse of `signed`."""
    return (values + 1) / 2


def random_times(images: Float[Tensor, "batch channel x y"]) -> Float[Tensor, "batch 1 1 1"]:
    """Return a time in [0, T] for each image, from torch's global random state."""
    return T * torch.rand(len(images), 1, 1, 1, device=images.device)


def countdown(steps: int, *, device: torch.device) -> Float[Tensor, "steps 2"]:
    """Return the steps of a sampler from time T to 0 at equal distances: of each, where it begins and ends."""
    times = torch.linspace(T, 0.0, steps + 1, device=device)
    return torch.stack([times[:-1], times[1:]], dim=1)
