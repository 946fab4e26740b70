"""Objective of a network that learns to give images back, from their features or from noise, before it fuses."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from diffufuse.models.fused import Restored
from diffufuse.train import fusion_losses as losses
from diffufuse.train.batches import Batch
from diffufuse.train.fusion_objectives import correlations
from diffufuse.train.objectives import Objective, summed
from diffufuse.train.structural import mean_where, similarity


def _first(part: Tensor) -> Tensor:
    return part[:, :1]


def _noise(made: Restored, batch: Batch) -> Tensor:
    if made.noise is None:
        raise ValueError("noise: expected a network that predicts the noise, got one that does not")
    seen, there = made.noise
    return mean_where((seen.float() - there).abs(), made.presence)


# What a restored image is held to. The weights are of a model's `restoration_loss`.
TERMS: dict[str, Callable[[Restored, Batch], Tensor]] = {
    "squared": lambda made, batch: mean_where((made.given.float() - made.wanted).square(), made.presence),
    "absolute": lambda made, batch: mean_where((made.given.float() - made.wanted).abs(), made.presence),
    "similarity": lambda made, batch: 1 - similarity(made.given, made.wanted, made.presence),
    "gradient": lambda made, batch: losses.gradient(*map(_first, (made.given, made.wanted, made.presence))),
    "decomposition": lambda made, batch: losses.decomposition(*correlations(made, batch)),
    "noise": _noise,
}


class Restorer(nn.Module):
    """What such a network has, for type checkers.

    Attributes:
        restored: images and presence → what it gives back; noise, if any, is from torch's global random state.
    """

    restored: Callable[[Tensor, Tensor], Restored]


def restoration_objective(plan: Mapping[str, Any]) -> Objective:
    """The terms of a plan's `restoration_loss`; network and batch → `loss`, with gradient, and its terms."""
    weights = plan["block"]["training"]["restoration_loss"]

    def objective(
        network: nn.Module, batch: Batch, *, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        made = cast(Restorer, network).restored(batch.images, batch.presence)
        return summed({name: (weight, TERMS[name](made, batch)) for name, weight in weights.items()}, {})

    return objective
