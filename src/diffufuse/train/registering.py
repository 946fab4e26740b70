"""Objective of a network that brings the second image of a pair onto the first, and fuses both."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from diffufuse.collective import mean
from diffufuse.models.fused import Fused
from diffufuse.models.layers.warping import moved
from diffufuse.train.batches import Batch
from diffufuse.train.fusion_objectives import fused_of, fusion_weights, physical_terms
from diffufuse.train.objectives import Objective, summed
from diffufuse.train.structural import mean_where, similarity
from diffufuse.train.warps import Misaligned, misaligned

HALF = 0.5
TINY = 1e-12

# What the field is held to. The weights are of a model's `registration_loss`; all fields are in pixels.
TERMS: dict[str, Callable[[Tensor, Batch, Misaligned], Tensor]] = {
    "endpoint": lambda flow, batch, seen: endpoint_error(flow, seen),
    "smoothness": lambda flow, batch, seen: roughness(flow),
    "registered": lambda flow, batch, seen: difference(flow, batch, seen),
}


def registering_objective(plan: Mapping[str, Any]) -> Objective:
    """The terms of a plan's `registration_loss` and `fusion_loss`, of pairs that were moved apart by its `warp`.

    The fused image is held to the pair as it was before.

    Returns:
        Network, batch and generator → `loss`, with gradient, its terms and what `physical_terms` shows; and without
        gradient `registration_error`, how far from where it belongs the network leaves a pixel of the second image, and
        `warp_size`, how far it was without the network: means over pixels in which both images are, in pixels.
    """
    settings, weights = plan["block"]["training"], fusion_weights(plan)

    def objective(
        network: nn.Module, batch: Batch, *, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        seen = misaligned(batch, settings["warp"], generator=generator)
        made = fused_of(network, seen.batch)
        flow = flow_of(made)
        of_field = {
            name: (weight, TERMS[name](flow, batch, seen)) for name, weight in settings["registration_loss"].items()
        }
        of_image, shown = physical_terms(made, batch, weights)
        with torch.no_grad():
            errors = {
                "registration_error": endpoint_error(flow, seen),
                "warp_size": endpoint_error(torch.zeros_like(flow), seen),
            }
        return summed(of_field | of_image, shown | errors)

    return objective


def flow_of(made: Fused) -> Tensor:
    """The field of a fuser that registers.

    Raises:
        ValueError: it has none.
    """
    if made.flow is None:
        raise ValueError("flow: expected a network that registers, got one without a field")
    return made.flow


def endpoint_error(flow: Tensor, seen: Misaligned) -> Tensor:
    """Mean distance of a field (B, 2, X, Y) from the one that moves the second image back, where both images are."""
    distance = ((flow.float() - seen.back).square().sum(dim=1) + TINY).sqrt()
    return mean_where(distance, seen.batch.presence.all(dim=1)[..., 0])


def roughness(flow: Tensor) -> Tensor:
    """Mean squared change of a field (B, 2, X, Y) from a pixel to the next, along both axes."""
    return mean(flow.float().diff(dim=2).square().mean()) + mean(flow.float().diff(dim=3).square().mean())


def difference(flow: Tensor, batch: Batch, seen: Misaligned) -> Tensor:
    """1 - SSIM and the mean distance of the second image, moved back by a field, from the image as it was."""
    wanted = batch.images[:, 1:]
    given = moved(seen.batch.images[:, 1:, ..., 0], flow)[..., None]
    there = moved(seen.batch.presence[:, 1:, ..., 0].float(), flow.detach(), outside="zeros")[..., None] > HALF
    where = there & batch.presence[:, 1:]
    return 1 - similarity(given, wanted, where) + mean_where((given.float() - wanted).abs(), where)
