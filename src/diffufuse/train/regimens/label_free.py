"""A fuser trained by the physical terms alone: no labels, and no segmenter."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import lightning_fabric
from torch import nn

from diffufuse.train.fusion_objectives import label_free_objective
from diffufuse.train.regimens.supervised import Supervised

if TYPE_CHECKING:
    from diffufuse.train.batches import PatchSampler


class LabelFree(Supervised):
    """One player, as in supervised training; the loss is that of `label_free_objective`."""

    def __init__(
        self,
        network: nn.Module,
        plan: Mapping[str, Any],
        sampler: "PatchSampler",
        validate: Callable[[nn.Module], dict[str, float]],
        *,
        seed: int,
        fabric: lightning_fabric.Fabric,
    ) -> None:
        """Set up a training; arguments as for `Supervised`, and `fusion_loss`: weights of its terms.

        `network` maps images and presence to gray levels; with a method `decomposed` it is trained to decompose.
        """
        super().__init__(
            network, plan, sampler, validate, seed=seed, fabric=fabric, objective=label_free_objective(plan)
        )
