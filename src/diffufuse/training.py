"""Training: one loop, read from top to bottom."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import lightning_fabric
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from diffufuse.augmentation import augment
from diffufuse.logs import Progress
from diffufuse.losses import dice_and_cross_entropy
from diffufuse.seeds import seed_of

CURVE_EVERY_STEPS = 10


@dataclass
class History:
    """The curves of a training, one row per step and quantity.

    Attributes:
        rows: (step, quantity, value, unit).
        follow: called with every step's new values, to show them live.
    """

    follow: Callable[[int, dict[str, float]], None]
    rows: list[tuple[int, str, float, str]] = field(default_factory=list)

    def add(self, step: int, values: Mapping[str, tuple[float, str]]) -> None:
        """Keep the values of a step, quantity to (value, unit)."""
        self.rows += [(step, quantity, value, unit) for quantity, (value, unit) in values.items()]
        self.follow(step, {quantity: value for quantity, (value, _) in values.items()})

    def frame(self) -> pd.DataFrame:
        """All rows, columns as in `tables.HISTORY`."""
        return pd.DataFrame(self.rows, columns=["step", "quantity", "value", "unit"])


def fabric_for_this_machine() -> lightning_fabric.Fabric:
    """The accelerator at hand, in single precision, repeatable for a seed."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    return lightning_fabric.Fabric(accelerator="auto", devices=1, precision="32-true")


def fit(
    network: nn.Module,
    draw_batch: Callable[[int, np.random.Generator], tuple[Tensor, Tensor, Tensor]],
    validate: Callable[[nn.Module], dict[str, float]],
    *,
    settings: Mapping[str, Any],
    seed: int,
    fabric: lightning_fabric.Fabric,
    history: History,
    title: str,
) -> nn.Module:
    """Train a segmenter.

    AdamW, linear warm-up, polynomial decay (power 0.9), gradients clipped to norm 1. The last weights are kept;
    nothing is chosen on the validation cases, they are watched.

    Args:
        network: maps images and presence to logits; trained in place.
        draw_batch: gives images, presence and reference for a batch size and a generator.
        validate: gives Dice per region, pooled as the caller says, for the network as it is.
        settings: `steps`, `batch`, `learning_rate`, `weight_decay`, `warmup_steps`, `validate_every`.
        seed: decides slices, patches and augmentation; the network's initial weights are the caller's.
        fabric: where to train.
        history: receives loss terms, learning rate, gradient norm, throughput and validation Dice.
        title: what the progress lines call this training.

    Returns:
        The network, on the CPU, in evaluation mode.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    steps, batch = settings["steps"], settings["batch"]
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"]
    )
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, settings))
    wrapped, optimizer = fabric.setup(network, optimizer)
    slices = np.random.default_rng(seed_of(seed, "slices"))
    changes = torch.Generator().manual_seed(seed_of(seed, "augmentation"))
    progress = Progress(title, steps)
    since = time.monotonic()

    for step in range(1, steps + 1):
        wrapped.train()
        images, presence, reference = (fabric.to_device(part) for part in draw_batch(batch, slices))
        images, presence, reference = augment(images, presence, reference, generator=changes)
        losses = dice_and_cross_entropy(wrapped(images, presence), reference)
        if not torch.isfinite(losses["loss"]):
            raise FloatingPointError(f"the loss is {losses['loss'].item()} at step {step}; lower the learning rate")
        optimizer.zero_grad()
        fabric.backward(losses["loss"])
        norm = fabric.clip_gradients(wrapped, optimizer, max_norm=1.0)
        optimizer.step()
        rate.step()

        if step % CURVE_EVERY_STEPS == 0 or step == steps:
            speed = batch * CURVE_EVERY_STEPS / (time.monotonic() - since)
            curves = {name: (value.item(), "1") for name, value in losses.items()}
            curves["learning_rate"] = (float(rate.get_last_lr()[0]), "1")
            curves["gradient_norm"] = (float(norm) if norm is not None else math.nan, "1")
            curves["throughput"] = (speed, "slices/s")
            history.add(step, curves)
            since = time.monotonic()
        if step % settings["validate_every"] == 0 or step == steps:
            dice = validate(network)
            history.add(step, {f"validation_dice_{region}": (value, "1") for region, value in dice.items()})
            since = time.monotonic()
        progress.step(step, f"loss {losses['loss'].item():.3f}")
    return network.cpu().eval()


def rate_factor(step: int, settings: Mapping[str, Any]) -> float:
    """Learning rate relative to its peak: linear over the warm-up, then (1 - progress) to the power 0.9."""
    warmup, steps = settings["warmup_steps"], settings["steps"]
    if step < warmup:
        return (step + 1) / warmup
    return float((1 - (step - warmup) / max(steps - warmup, 1)) ** 0.9)
