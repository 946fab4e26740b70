"""The regimens: what a training step does. A `training.regimen` in `config/models.yaml` is a key here."""

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor, nn

from diffufuse.train.budget import Budget, Pace
from diffufuse.train.checkpoints import Stateful
from diffufuse.train.divergence import Watch
from diffufuse.train.random_state import RandomState
from diffufuse.train.regimens.supervised import Supervised


class Regimen(Protocol):
    """The networks of a training and what a step does to them; `loop.fit` does what all trainings share.

    Attributes:
        sample: what a batch consists of, for messages.
        samples_per_step: how many of them a step learns from.
        parts: name to what changes while it trains: networks, optimizers, averages, batches.
    """

    sample: str
    samples_per_step: int
    parts: Mapping[str, Stateful]

    def estimate(self) -> Budget:
        """What the training will cost; changes nothing."""

    def step(
        self, step: int, *, progress: float, random_state: RandomState, pace: Pace, watch: Watch
    ) -> dict[str, Tensor]:
        """Learn from the next batches.

        Args:
            step: number of the step, from 1.
            progress: share of the training that is done, 0..1.
            random_state: of augmentation and objective.
            pace: told while the step waits for data.
            watch: asked whether values are finite and the loss steady.

        Returns:
            Scalars for the curves, `loss` among them.

        Raises:
            Diverged: as the watch says.
        """

    def validate(self) -> dict[str, float]:
        """What the validation cases say of the networks as they would be kept now, quantity to value."""

    def trained(self) -> nn.Module:
        """The network that is kept, on the CPU, in evaluation mode."""


REGIMENS: dict[str, Callable[..., Regimen]] = {"supervised": Supervised}
