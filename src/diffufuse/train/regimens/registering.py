"""A fuser trained to register what it fuses, on pairs that are moved apart by known displacements."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import lightning_fabric
from torch import nn

from diffufuse.errors import BadInput
from diffufuse.train.regimens.supervised import Supervised
from diffufuse.train.registering import registering_objective

if TYPE_CHECKING:
    from diffufuse.train.batches import PatchSampler


class Registering(Supervised):
    """One player, as in supervised training; the loss is that of `registering_objective`."""

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
        """Set up a training; arguments as for `Supervised`.

        Of the training settings also `warp`, see `misaligned`, and `registration_loss` and `fusion_loss`: weights of
        the terms of the field and of the image. `network` has `registration`, a network or None.

        Raises:
            BadInput: the network registers nothing.
        """
        if getattr(network, "registration", None) is None:
            raise BadInput(
                f"models.{plan['model']}.training.regimen: expected a network that registers, as with "
                "`aligned: false`, got one that does not; set it, or train it `label_free`."
            )
        super().__init__(
            network, plan, sampler, validate, seed=seed, fabric=fabric, objective=registering_objective(plan)
        )
