"""Where a network gets its noise from: in training from torch's global state, in prediction from the case itself."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Noise(Protocol):
    """Standard normal noise for a batch of images, anew at every call."""

    def __call__(self, like: Tensor) -> Tensor:
        """Noise of the shape, type and device of `like`, whose first axis counts the samples."""


def drawn(like: Tensor) -> Tensor:
    """Noise from torch's global random state, which a training seeds and saves."""
    return torch.randn_like(like)


class SeededNoise:
    """Noise of each sample from a seed of its own, so that it depends neither on the batch nor on the order of cases.

    It is drawn on the CPU in single precision, and so the same on every device.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        """One seed for each sample of a batch."""
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, like: Tensor) -> Tensor:
        """The next noise of each sample.

        Raises:
            ValueError: there is not one sample for each seed.
        """
        samples = zip(like, self.generators, strict=True)
        return torch.stack([torch.randn(sample.shape, generator=own) for sample, own in samples]).to(like)
