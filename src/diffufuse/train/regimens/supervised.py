"""Supervised training: one network, one objective, AdamW, and an exponential moving average of the weights."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import lightning_fabric
import numpy as np
import torch
from torch import Tensor, nn

from diffufuse.collective import share
from diffufuse.seeds import seed_of
from diffufuse.train.augmentation import Augment, augmentation_of
from diffufuse.train.averaging import averaged
from diffufuse.train.budget import Budget, Pace, estimate
from diffufuse.train.checkpoints import Stateful
from diffufuse.train.divergence import Watch
from diffufuse.train.objectives import Objective, objective_of
from diffufuse.train.player import Player
from diffufuse.train.prefetch import Prefetcher
from diffufuse.train.random_state import RandomState

if TYPE_CHECKING:
    from diffufuse.train.batches import Batch, PatchSampler


class Supervised:
    """One objective and one player; see `Player`.

    Validation cases are only monitored; no model selection depends on them.

    Attributes:
        sample: unit of a batch in messages.
        samples_per_step: number of samples per optimizer step.
        steps: number of optimizer steps.
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
        objective: Objective | None = None,
        augment: Augment | None = None,
        weights: Iterable[nn.Parameter] | None = None,
    ) -> None:
        """Set up a training.

        Args:
            network: maps images and presence to logits; its weights are changed.
            plan: from `make_plan`; of the training settings: `batch` (samples at once), `accumulate` (batches per
                step), `learning_rate`, `weight_decay`, `steps`, `warmup_steps`, `ema` (decay of the average, 0 for
                none).
            sampler: draws the batches; its generator is the only source of randomness.
            validate: network → quantity → value.
            seed: of the batches; the initial weights are the caller's.
            fabric: device and precision of the training.
            objective: (network, batch, `progress` in 0..1, `generator`) → `loss`, with gradient, and its terms, in the
                precision of the training; by default that of the plan.
            augment: (batch, `generator`) → batch; by default that of the plan.
            weights: those that are trained; by default all of the network.
        """
        settings = plan["block"]["training"]
        self.network, self.settings, self.fabric, self.validated = network, settings, fabric, validate
        self.objective, self.augment = objective or objective_of(plan), augment or augmentation_of(plan)
        self.sample = "slice" if getattr(network, "dims", 2) == 2 else "sample"
        self.samples_per_step, self.steps = settings["batch"] * settings["accumulate"], settings["steps"]
        schedule = {name: settings[name] for name in ("learning_rate", "weight_decay", "steps", "warmup_steps")}
        self.player = Player(network.parameters() if weights is None else weights, **schedule)
        self.wrapped, self.player.optimizer = fabric.setup(network, self.player.adam)
        self.average = averaged(network, decay=settings["ema"])
        self.batches = Prefetcher(
            lambda generator: sampler.draw(settings["batch"], generator),
            np.random.default_rng(seed_of(seed, "slices")),
            threaded=fabric.device.type == "cuda",  # on a CPU it would take cores from the training
        )
        self.trial = lambda: sampler.draw(settings["batch"], np.random.default_rng(seed)).to(share).to(fabric.to_device)
        self.parts: Mapping[str, Stateful] = {
            "network": network,
            **self.player.parts,
            "average": self.average,
            "batches": self.batches,
        }

    def estimate(self) -> Budget:
        """Estimate the cost from passes of a copy of the network over a batch of its own."""
        trial = self.trial()
        with self.fabric.autocast():
            return estimate(self.network, trial, self.objective, settings=self.settings)

    def step(
        self, step: int, *, progress: float, random_state: RandomState, pace: Pace, watch: Watch
    ) -> dict[str, Tensor]:
        """One optimizer step on `accumulate` batches; see `Regimen.step`."""
        accumulate, losses = self.settings["accumulate"], dict[str, Tensor]()
        self.wrapped.train()
        self.player.optimizer.zero_grad()
        for _ in range(accumulate):
            with pace.waiting():
                drawn = self.batches.next().to(self.fabric.to_device)
                batch = self.augment(drawn, generator=random_state.augmentation)
            with self.fabric.autocast():
                terms = self.terms(step, batch.to(share), progress=progress, generator=random_state.objective)
            watch.finite(step, terms["loss"], terms, batch)
            self.fabric.backward(terms["loss"] / accumulate)
            losses = {name: losses.get(name, 0) + value.detach() / accumulate for name, value in terms.items()}
        curves = self.player.update(
            step, losses["loss"], batch=batch, watch=watch, wrapped=self.wrapped, fabric=self.fabric
        )
        self.average.update_parameters(self.network)
        return losses | curves

    def terms(self, step: int, batch: "Batch", *, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """The objective's `loss`, with gradient, and its terms."""
        return self.objective(self.wrapped, batch, progress=progress, generator=generator)

    def validate(self) -> dict[str, float]:
        """Validation of the averaged network."""
        return self.validated(self.average.module)

    def trained(self) -> nn.Module:
        """The averaged network."""
        network: nn.Module = self.average.module.cpu().eval()
        return network
