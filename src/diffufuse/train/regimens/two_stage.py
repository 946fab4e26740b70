"""Two stages: a network first learns to give images back, and then, with what it has learned, to fuse them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import lightning_fabric
from torch import Tensor, nn

from diffufuse.errors import BadInput
from diffufuse.seeds import seed_of
from diffufuse.train.budget import Budget, Pace
from diffufuse.train.checkpoints import Stateful
from diffufuse.train.divergence import Watch
from diffufuse.train.fusion_objectives import label_free_objective
from diffufuse.train.random_state import RandomState
from diffufuse.train.regimens.supervised import Supervised
from diffufuse.train.restoration import restoration_objective

if TYPE_CHECKING:
    from diffufuse.train.batches import PatchSampler


class Staged(nn.Module):
    """What a network of two stages has, for type checkers.

    Attributes:
        first_stage: the weights that learn to restore.
        second_stage: the weights that learn to fuse; the others are held.
    """

    first_stage: Callable[[], Iterable[nn.Parameter]]
    second_stage: Callable[[], Iterable[nn.Parameter]]


class TwoStage:
    """Two trainings in a row, each with an optimizer, a learning rate schedule and an average of its own.

    The second stage begins with the averaged weights of the first. A checkpoint holds both, so an interrupted training
    goes on in the stage that it was in.

    Attributes:
        sample: unit of a batch in messages.
        samples_per_step: number of samples per optimizer step.
        steps: number of optimizer steps of both stages.
        parts: name → stateful object.
    """

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
        """Set up a training.

        Args:
            network: with `restored`, `decomposed`, and the weights of each stage, see `Staged`; it is changed.
            plan: from `make_plan`. Of the training settings: those of `Supervised`, of which `warmup_steps` count in
                each stage; `first_stage_steps`, of all `steps`; `restoration_loss` and `fusion_loss`: weights of the
                terms of each stage.
            sampler: draws the batches.
            validate: network → quantity → value.
            seed: of the batches.
            fabric: device and precision of the training.

        Raises:
            BadInput: the first stage takes all steps.
        """
        settings, staged = plan["block"]["training"], cast(Staged, network)
        self.network, self.first_steps, self.steps = network, settings["first_stage_steps"], settings["steps"]
        if not self.first_steps < self.steps:
            raise BadInput(
                f"models.{plan['model']}.training.first_stage_steps: expected fewer than the {self.steps} steps of the "
                f"training, got {self.first_steps}; without a second stage nothing learns to fuse."
            )

        def stage(steps: int, number: int, **own: Any) -> Supervised:
            part = _with_steps(plan, steps)
            return Supervised(network, part, sampler, validate, seed=seed_of(seed, number), fabric=fabric, **own)

        self.first = stage(self.first_steps, 1, objective=restoration_objective(plan), weights=staged.first_stage())
        self.second = stage(
            self.steps - self.first_steps, 2, objective=label_free_objective(plan), weights=staged.second_stage()
        )
        self.sample, self.samples_per_step = self.first.sample, self.first.samples_per_step
        self.parts: Mapping[str, Stateful] = {
            f"{name}_{part}": stateful
            for name, one in (("first", self.first), ("second", self.second))
            for part, stateful in one.parts.items()
        }

    def estimate(self) -> Budget:
        """Estimate the cost of both stages."""
        first, second = self.first.estimate(), self.second.estimate()
        seconds = first.seconds + second.seconds
        return replace(
            second,
            seconds_per_step=seconds / self.steps,
            seconds=seconds,
            memory_mb=max(first.memory_mb, second.memory_mb),
        )

    def step(
        self, step: int, *, progress: float, random_state: RandomState, pace: Pace, watch: Watch
    ) -> dict[str, Tensor]:
        """One step of the stage that it falls into; see `Regimen.step`."""
        if step == self.first_steps + 1:
            self.network.load_state_dict(self.first.average.module.state_dict())
            watch.forget()
        stage = self.first if step <= self.first_steps else self.second
        return stage.step(step, progress=progress, random_state=random_state, pace=pace, watch=watch)

    def validate(self) -> dict[str, float]:
        """Validation of the averaged network of the stage that it is in."""
        return self._current.validate()

    def trained(self) -> nn.Module:
        """The averaged network of the second stage."""
        return self.second.trained()

    @property
    def _current(self) -> Supervised:
        return self.second if self.second.average.n_averaged else self.first


def _with_steps(plan: Mapping[str, Any], steps: int) -> dict[str, Any]:
    training = {**plan["block"]["training"], "steps": steps}
    return {**plan, "block": {**plan["block"], "training": training}}
