"""The players of Fuse4Seg, a leader that fuses and a follower that segments the fused image, and their losses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffufuse.errors import BadInput
from diffufuse.train.batches import Batch
from diffufuse.train.fusion_objectives import (
    FusionWeights,
    Segmentation,
    fused_of,
    fusion_weights,
    physical_terms,
    segmentation_of,
)
from diffufuse.train.objectives import summed


@dataclass(frozen=True)
class Game:
    """The settings of a game.

    Attributes:
        warm_up_steps: steps of stage 1, in which the follower alone learns, on the mean of the images.
        inner_steps: K, updates of the follower for one of the leader.
        leader_learning_rate: at its peak.
    """

    warm_up_steps: int
    inner_steps: int
    leader_learning_rate: float

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> "Game":
        """The game of a plan's training.

        Raises:
            BadInput: stage 1 takes all steps.
        """
        settings = plan["block"]["training"]
        game = cls(**settings["game"])
        if not game.warm_up_steps < settings["steps"]:
            raise BadInput(
                f"models.{plan['model']}.training.game: expected fewer warm_up_steps than the "
                f"{settings['steps']} steps of the training, got {game.warm_up_steps}; without a second stage the "
                "leader learns nothing."
            )
        return game


class FusingSegmenter(nn.Module):
    """What a network of two players has, for type checkers.

    Attributes:
        leader: images and presence → image; its `decomposed` tells the features, too.
        follower: image and presence → logits.
        fuse: images and presence → the leader's image.
        prior: images and presence → the image of stage 1.
    """

    leader: nn.Module
    follower: nn.Module
    fuse: Callable[[Tensor, Tensor], Tensor]
    prior: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Losses:
    """The losses of both players.

    Attributes:
        segmentation: of the follower, and the task of the leader.
        weights: of the physical terms of the leader.
    """

    segmentation: Segmentation
    weights: FusionWeights

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> "Losses":
        """The losses of a plan."""
        return cls(segmentation_of(plan), fusion_weights(plan))

    def follower(self, network: FusingSegmenter, batch: Batch, fused: Tensor, *, progress: float) -> dict[str, Tensor]:
        """The follower's loss.

        Args:
            network: of both players.
            batch: of the follower's patients.
            fused: its images, from `fused_at_once` or `prior_of`.
            progress: completed share of the training, 0..1.

        Returns:
            `loss`, with gradient, and its terms.
        """
        return summed(self.segmentation(segmented(network, fused, batch), batch, progress), {})

    def leader(
        self, network: FusingSegmenter, batch: Batch, *, progress: float
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The leader's loss: the task through the follower, and the physical terms.

        Args:
            network: as for `follower`.
            batch: of the leader's patients.
            progress: completed share of the training, 0..1.

        Returns:
            The task and the sum of the weighted physical terms, with gradient; and, without, the terms and the health
            of the fusion.
        """
        made = fused_of(network.leader, batch)
        task = summed(self.segmentation(segmented(network, made.fused, batch), batch, progress), {})
        physical = summed(*physical_terms(made, batch, self.weights))
        terms = {"loss_task": task["loss"].detach(), **physical}
        return task["loss"], terms.pop("loss"), terms


@torch.no_grad()
def fused_at_once(network: FusingSegmenter, batches: Sequence[Batch]) -> list[Tensor]:
    """The leader's images of several batches, without gradient: the leader is the same for all, so one pass does."""
    images, presence = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("images", "presence"))
    return list(network.fuse(images, presence).split([len(batch.images) for batch in batches]))


@torch.no_grad()
def prior_of(network: FusingSegmenter, batch: Batch) -> Tensor:
    """The images of stage 1, in which the leader has no part."""
    return network.prior(batch.images, batch.presence)


def segmented(network: FusingSegmenter, fused: Tensor, batch: Batch) -> Tensor:
    """The follower's logits of fused images, which are present where any modality is."""
    logits: Tensor = network.follower(fused, batch.presence.any(dim=1, keepdim=True))
    return logits


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """The weights get no gradient; the gradient flows through to the input."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def gradients_of(loss: Tensor, module: nn.Module) -> list[Tensor]:
    """The gradient of a loss by each weight of a module, 0 where it has no part; the graph is kept for another."""
    weights = list(module.parameters())
    gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(w) if part is None else part for w, part in zip(weights, gradients, strict=True)]


def task_share(module: nn.Module, physical: Sequence[Tensor]) -> Tensor:
    """How much of a module's gradient comes from the task: |∇task| / (|∇task| + |∇physical|), norms over all weights.

    With 0 the follower does not reach the leader and there is no game; with 1 there is nothing else.

    Args:
        module: with the gradient of the sum of both losses.
        physical: the part of the physical losses in it, from `gradients_of`.
    """
    whole = [part if w.grad is None else w.grad for w, part in zip(module.parameters(), physical, strict=True)]
    of_task, of_physical = (
        torch.stack([part.float().norm() for part in parts]).norm()
        for parts in ([one - other for one, other in zip(whole, physical, strict=True)], physical)
    )
    return of_task / (of_task + of_physical).clamp(min=torch.finfo(torch.float32).tiny)
