"""A network trained to take noise away, by which its sampler makes a fused image when it is used."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import lightning_fabric
from torch import nn

from diffufuse.train.regimens.supervised import Supervised
from diffufuse.train.restoration import restoration_objective

if TYPE_CHECKING:
    from diffufuse.train.batches import PatchSampler


class Denoising(Supervised):
    """One player, as in supervised training; the loss is that of `restoration_objective`."""

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
        """Set up a training; arguments as for `Supervised`, and `restoration_loss`: weights of its terms.

        `network` has a method `restored`; see `restoration.Restorer`.
        """
        super().__init__(
            network, plan, sampler, validate, seed=seed, fabric=fabric, objective=restoration_objective(plan)
        )
