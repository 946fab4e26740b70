"""Training regimens. A `training.regimen` in `config/models.yaml` is a key here."""

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor, nn

from diffufuse.train.budget import Budget, Pace
from diffufuse.train.checkpoints import Stateful
from diffufuse.train.divergence import Watch
from diffufuse.train.random_state import RandomState
from diffufuse.train.regimens.bilevel import Bilevel
from diffufuse.train.regimens.denoising import Denoising
from diffufuse.train.regimens.fixed import Fixed
from diffufuse.train.regimens.joint import Joint
from diffufuse.train.regimens.label_free import LabelFree
from diffufuse.train.regimens.registering import Registering
from diffufuse.train.regimens.supervised import Supervised
from diffufuse.train.regimens.two_stage import TwoStage


class Regimen(Protocol):
    """The networks of a training and its training step; `loop.fit` is common to all regimens.

    It is called with the untrained network, its plan, the sampler of the training cases, a function that validates a
    network (quantity → value), the run's `seed`, and `fabric`, for device and precision.

    Attributes:
        sample: unit of a batch (slice, volume) in messages.
        samples_per_step: number of samples per step.
        steps: number of steps.
        parts: name → stateful object: networks, optimizers, averages, batches.
    """

    sample: str
    samples_per_step: int
    steps: int
    parts: Mapping[str, Stateful]

    def estimate(self) -> Budget:
        """Estimate the cost of the training; changes nothing."""

    def step(
        self, step: int, *, progress: float, random_state: RandomState, pace: Pace, watch: Watch
    ) -> dict[str, Tensor]:
        """One training step on the next batches.

        Args:
            step: number of the step, from 1.
            progress: completed share of the training, 0..1.
            random_state: of augmentation and objective.
            pace: records the time spent waiting for data.
            watch: checks for divergence.

        Returns:
            Scalars for the curves, `loss` among them.

        Raises:
            Diverged: raised by the watch.
        """

    def validate(self) -> dict[str, float]:
        """Validation metrics of the current networks, quantity → value."""

    def trained(self) -> nn.Module:
        """The final network, on the CPU, in evaluation mode."""


REGIMENS: dict[str, Callable[..., Regimen]] = {
    "supervised": Supervised,
    "bilevel": Bilevel,
    "joint": Joint,
    "label_free": LabelFree,
    "two_stage": TwoStage,
    "denoising": Denoising,
    "registering": Registering,
    "fixed": Fixed,
}
