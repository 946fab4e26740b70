"""Objectives of a fuser: its physical terms, which need no labels, and those of a fuser that serves a segmenter."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffufuse.models.fused import Fused
from diffufuse.plan.plans import plan_outputs
from diffufuse.train import fusion_losses as losses
from diffufuse.train.batches import Batch
from diffufuse.train.objectives import Objective, Weights, segmentation_terms, summed

WHITE_LEVEL = 255
Weighed = dict[str, tuple[float, Tensor]]
Segmentation = Callable[[Tensor, Batch, float], Weighed]


@dataclass(frozen=True)
class FusionWeights:
    """Weights of the physical terms; the paper gives no numbers.

    Attributes:
        decomposition: lambda 1; with `gradient` in the ratio 2 : 10 of CDDFuse, scaled so that the task leads.
        gradient: lambda 2.
        anchor: lambda 3.
    """

    decomposition: float = 0.2
    gradient: float = 1.0
    anchor: float = 0.1


def fusion_weights(plan: Mapping[str, Any]) -> FusionWeights:
    """The weights of a plan's `fusion_loss`."""
    return FusionWeights(**plan["block"]["training"].get("fusion_loss", {}))


def segmentation_of(plan: Mapping[str, Any]) -> Segmentation:
    """The loss of a plan's segmenter, from logits, batch and progress: that of supervised training."""
    weights, outputs = Weights(**plan["block"].get("loss", {})), plan_outputs(plan)
    return lambda logits, batch, progress: segmentation_terms(logits, batch, weights, outputs, progress)


def label_free_objective(plan: Mapping[str, Any]) -> Objective:
    """The physical terms alone; network and batch → `loss`, with gradient, its terms and health."""
    weights = fusion_weights(plan)

    def objective(
        network: nn.Module, batch: Batch, *, progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        return summed(*physical_terms(fused_of(network, batch), batch, weights))

    return objective


def fused_of(fuser: nn.Module, batch: Batch) -> Fused:
    """The fused images of a batch, with the features that the fuser made them of if it tells (`decomposed`)."""
    decomposed: Callable[[Tensor, Tensor], Fused] | None = getattr(fuser, "decomposed", None)
    if decomposed is None:
        return Fused(fuser(batch.images, batch.presence))
    return decomposed(batch.images, batch.presence)


def physical_terms(made: Fused, batch: Batch, weights: FusionWeights) -> tuple[Weighed, dict[str, Tensor]]:
    """The loss of a fused image without labels, and whether its fuser does anything.

    Returns:
        Decomposition (if the fuser has features), gradient and anchor, name → weight and term; and without gradient
        `base_correlation` and `detail_correlation` of the features, if it has any, and `delta_levels`, the mean
        distance of the fused image from the mean of the images, in gray levels of 0..255.
    """
    images, presence = batch.images, batch.presence
    terms: Weighed = {}
    shown: dict[str, Tensor] = {}
    if made.base is not None and made.detail is not None:
        base, detail = (losses.correlation(features, presence) for features in (made.base, made.detail))
        terms["decomposition"] = (weights.decomposition, losses.decomposition(base, detail))
        shown |= {"base_correlation": base.detach(), "detail_correlation": detail.detach()}
    terms["gradient"] = (weights.gradient, losses.gradient(made.fused, images, presence))
    terms["anchor"] = (weights.anchor, losses.anchor(made.fused, images, presence))
    shown["delta_levels"] = WHITE_LEVEL * losses.distance_from_mean(made.fused.detach(), images, presence)
    return terms, shown
