"""Objectives of a fuser: its physical terms, which need no labels, and those of a fuser that serves a segmenter."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from diffufuse.models.fused import Fused, Restored
from diffufuse.plan.plans import plan_outputs
from diffufuse.train import fusion_losses as losses
from diffufuse.train.batches import Batch
from diffufuse.train.mutual_information import left_open
from diffufuse.train.objectives import Objective, Weights, segmentation_terms, summed
from diffufuse.train.structural import structure

WHITE_LEVEL = 255
Weighed = dict[str, tuple[float, Tensor]]
Segmentation = Callable[[Tensor, Batch, float], Weighed]
FusionWeights = Mapping[str, float]
# What an image can be held to. The weights are of a model's `fusion_loss`; one of 0 shows a term in the curves.
TERMS: dict[str, Callable[[Fused, Batch], Tensor]] = {
    "decomposition": lambda made, batch: losses.decomposition(*correlations(made, batch)),
    "gradient": lambda made, batch: losses.gradient(made.fused, batch.images, batch.presence),
    "anchor": lambda made, batch: losses.anchor(made.fused, batch.images, batch.presence),
    "maximum": lambda made, batch: losses.maximum(made.fused, batch.images, batch.presence),
    "maximum_squared": lambda made, batch: losses.maximum_squared(made.fused, batch.images, batch.presence),
    "similarity": lambda made, batch: losses.dissimilarity(made.fused, batch.images, batch.presence),
    "recognition": lambda made, batch: losses.recognition(_modality(made)[0], batch.presence),
    "confusion": lambda made, batch: losses.confusion(_modality(made)[1], batch.presence),
    "multiscale_similarity": lambda made, batch: losses.multiscale_dissimilarity(
        made.fused, batch.images, batch.presence
    ),
    "structure": lambda made, batch: 1 - structure(made.fused, batch.images, batch.presence),
    "information_of_structure": lambda made, batch: left_open(made.fused, *of_source(batch, 0)),
    "information_of_function": lambda made, batch: left_open(made.fused, *of_source(batch, 1)),
}


def fusion_weights(plan: Mapping[str, Any]) -> FusionWeights:
    """The weights of a plan's `fusion_loss`, by the names of `TERMS`."""
    weights: FusionWeights = plan["block"]["training"]["fusion_loss"]
    return weights


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
        The terms that have a weight, name → weight and term; and without gradient `base_correlation` and
        `detail_correlation` of the features, if the fuser has any, and `delta_levels`, the mean distance of the fused
        image from the mean of the images, in gray levels of 0..255.
    """
    terms = {name: (weight, TERMS[name](made, batch)) for name, weight in weights.items()}
    shown: dict[str, Tensor] = {}
    if made.base is not None and made.detail is not None:
        base, detail = correlations(made, batch)
        shown |= {"base_correlation": base.detach(), "detail_correlation": detail.detach()}
    distance = losses.distance_from_mean(made.fused.detach(), batch.images, batch.presence)
    return terms, shown | {"delta_levels": WHITE_LEVEL * distance}


def _modality(made: Fused) -> tuple[Tensor, Tensor]:
    if made.modality is None:
        raise ValueError("recognition, confusion: expected a network that tells the modality, got one that does not")
    return made.modality


def of_source(batch: Batch, number: int) -> tuple[Tensor, Tensor]:
    """One image of each pair of a batch, and where it is."""
    return batch.images[:, number : number + 1], batch.presence[:, number : number + 1]


def correlations(made: Fused | Restored, batch: Batch) -> tuple[Tensor, Tensor]:
    """The correlation of the base features of both modalities, and of their detail features.

    Raises:
        ValueError: the network has no such features.
    """
    if made.base is None or made.detail is None:
        raise ValueError("decomposition: expected a network with base and detail features, got one without")
    return losses.correlation(made.base, batch.presence), losses.correlation(made.detail, batch.presence)
