"""A player of a training: the weights that one optimizer moves."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import lightning_fabric
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from diffufuse.collective import mean_gradients
from diffufuse.train.checkpoints import Stateful
from diffufuse.train.divergence import Watch

if TYPE_CHECKING:  # the import of batches is slow
    from diffufuse.train.batches import Batch

LARGEST_NORM = 1.0


class Player:
    """AdamW, linear warm-up, polynomial decay (power 0.9), gradients clipped to norm 1.

    Attributes:
        name: prefix of the player's curves, e.g. `leader_`; empty for the only player, or the first.
        weights: that it moves.
        adam: its optimizer; `fabric.setup` gives one to be used instead, which `optimizer` then is.
        rate: its learning rate.
        optimizer: moves the weights.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        learning_rate: float,
        weight_decay: float,
        steps: int,
        warmup_steps: int,
        name: str = "",
    ) -> None:
        """Set up the optimizer of some weights.

        Args:
            parameters: the weights.
            learning_rate: at its peak.
            weight_decay: of AdamW.
            steps: number of updates in all.
            warmup_steps: number of updates of the linear warm-up.
            name: prefix of its curves.
        """
        schedule = {"steps": steps, "warmup_steps": warmup_steps}
        self.name, self.weights = name, list(parameters)
        self.adam = torch.optim.AdamW(self.weights, lr=learning_rate, weight_decay=weight_decay)
        self.rate = torch.optim.lr_scheduler.LambdaLR(self.adam, lambda step: rate_factor(step, schedule))
        self.optimizer: Optimizer = self.adam

    @property
    def parts(self) -> dict[str, Stateful]:
        """What is saved of it in checkpoints."""
        return {f"{self.name}adam": self.adam, f"{self.name}rate": self.rate}

    def update(
        self,
        step: int,
        loss: Tensor,
        *,
        batch: "Batch",
        watch: Watch,
        wrapped: nn.Module,
        fabric: lightning_fabric.Fabric,
    ) -> dict[str, Tensor]:
        """Average the gradients over all processes, clip them, check them and the loss, and update the weights.

        Args:
            step: number of the step.
            loss: of this step, without gradient.
            batch: the last one of the step, for the evidence of a divergence.
            watch: checks for divergence.
            wrapped: the network, from `fabric.setup`.
            fabric: of the training.

        Returns:
            Learning rate after, and norm of the gradient before clipping.

        Raises:
            Diverged: raised by the watch.
        """
        mean_gradients(self.weights)
        clipped = fabric.clip_gradients(
            cast(Any, wrapped), cast(Any, self.optimizer), max_norm=LARGEST_NORM, error_if_nonfinite=False
        )
        norm = cast(Tensor, clipped)
        watch.finite(step, norm, {f"{self.name}gradient_norm": norm}, batch)
        watch.steady(step, loss.item(), batch, name=f"{self.name}loss")
        self.optimizer.step()
        self.rate.step()
        return {
            f"{self.name}learning_rate": torch.tensor(self.rate.get_last_lr()[0], dtype=torch.float64),
            f"{self.name}gradient_norm": norm,
        }


def rate_factor(step: int, settings: Mapping[str, Any]) -> float:
    """Learning rate relative to its peak: linear over the warm-up, then (1 - progress) to the power 0.9."""
    warmup, steps = settings["warmup_steps"], settings["steps"]
    if step < warmup:
        return (step + 1) / warmup
    return float((1 - (step - warmup) / max(steps - warmup, 1)) ** 0.9)
