"""Supervised training: one network, one objective, AdamW, and an exponential moving average of the weights."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import lightning_fabric
import numpy as np
import torch
from torch import Tensor, nn

from diffufuse.seeds import seed_of
from diffufuse.train.averaging import averaged
from diffufuse.train.budget import Budget, Pace, estimate
from diffufuse.train.checkpoints import Stateful
from diffufuse.train.divergence import Watch
from diffufuse.train.prefetch import Prefetcher
from diffufuse.train.random_state import RandomState

if TYPE_CHECKING:  # the import of batches is slow
    from diffufuse.train.batches import Batch


class Supervised:
    """AdamW, linear warm-up, polynomial decay (power 0.9), gradients clipped to norm 1.

    Validation cases are only monitored; no model selection depends on them.

    Attributes:
        sample: unit of a batch in messages.
        samples_per_step: number of samples per optimizer step.
        parts: name → stateful object.
    """

    def __init__(
        self,
        network: nn.Module,
        draw: Callable[[int, np.random.Generator], "Batch"],
        augment: Callable[..., "Batch"],
        objective: Callable[..., dict[str, Tensor]],
        validate: Callable[[nn.Module], dict[str, float]],
        *,
        settings: Mapping[str, Any],
        seed: int,
        fabric: lightning_fabric.Fabric,
    ) -> None:
        """Set up a training.

        Args:
            network: maps images and presence to logits; its weights are changed.
            draw: (size, generator) → batch; the generator is the only source of randomness.
            augment: (batch, `generator`) → batch, likewise.
            objective: (network, batch, `progress` in 0..1, `generator`) → `loss`, with gradient, and its terms. It
                runs in the precision of the training.
            validate: network → Dice per region.
            settings: `batch` (samples at once), `accumulate` (batches per step), `learning_rate`, `weight_decay`,
                `steps`, `warmup_steps`, `ema` (decay of the average, 0 for none).
            seed: of the batches; the initial weights are the caller's.
            fabric: device and precision of the training.
        """
        self.network, self.settings, self.fabric = network, settings, fabric
        self.objective, self.augment, self.score = objective, augment, validate
        self.sample = "slice" if getattr(network, "dims", 2) == 2 else "sample"
        self.samples_per_step = settings["batch"] * settings["accumulate"]
        adam = torch.optim.AdamW(
            network.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"]
        )
        self.rate = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: rate_factor(step, settings))
        self.wrapped, self.optimizer = fabric.setup(network, adam)
        self.average = averaged(network, decay=settings["ema"])
        self.batches = Prefetcher(
            lambda generator: draw(settings["batch"], generator),
            np.random.default_rng(seed_of(seed, "slices")),
            threaded=fabric.device.type == "cuda",  # on a CPU it would take cores from the training
        )
        self.trial = lambda: draw(settings["batch"], np.random.default_rng(seed)).to(fabric.to_device)
        self.parts: Mapping[str, Stateful] = {
            "network": network,
            "adam": adam,
            "rate": self.rate,
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
        self.optimizer.zero_grad()
        for _ in range(accumulate):
            with pace.waiting():
                drawn = self.batches.next().to(self.fabric.to_device)
                batch = self.augment(drawn, generator=random_state.augmentation)
            with self.fabric.autocast():
                terms = self.objective(self.wrapped, batch, progress=progress, generator=random_state.objective)
            watch.finite(step, terms["loss"], terms, batch)
            self.fabric.backward(terms["loss"] / accumulate)
            losses = {name: losses.get(name, 0) + value.detach() / accumulate for name, value in terms.items()}
        clipped = self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=1.0, error_if_nonfinite=False)
        norm = cast(Tensor, clipped)
        watch.finite(step, norm, {"gradient_norm": norm}, batch)
        watch.steady(step, losses["loss"].item(), batch)
        self.optimizer.step()
        self.rate.step()
        self.average.update_parameters(self.network)
        return losses | {
            "learning_rate": torch.tensor(self.rate.get_last_lr()[0], dtype=torch.float64),
            "gradient_norm": norm,
        }

    def validate(self) -> dict[str, float]:
        """Dice of the averaged network, per region."""
        return {f"validation_dice_{region}": dice for region, dice in self.score(self.average.module).items()}

    def trained(self) -> nn.Module:
        """The averaged network."""
        network: nn.Module = self.average.module.cpu().eval()
        return network


def rate_factor(step: int, settings: Mapping[str, Any]) -> float:
    """Learning rate relative to its peak: linear over the warm-up, then (1 - progress) to the power 0.9."""
    warmup, steps = settings["warmup_steps"], settings["steps"]
    if step < warmup:
        return (step + 1) / warmup
    return float((1 - (step - warmup) / max(steps - warmup, 1)) ** 0.9)
