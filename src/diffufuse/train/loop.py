"""Training: one loop, read from top to bottom."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import lightning_fabric
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from diffufuse.logs import PROGRESS, Progress
from diffufuse.seeds import seed_of
from diffufuse.train.averaging import averaged
from diffufuse.train.budget import Pace, estimate, memory_explained, peak_memory_mb
from diffufuse.train.checkpoints import Checkpoints, Stateful, heard_signals
from diffufuse.train.divergence import Watch
from diffufuse.train.prefetch import Ahead
from diffufuse.train.random_state import own_chance

if TYPE_CHECKING:  # a batch is known by its tensors; its stores load slowly
    from diffufuse.train.batches import Batch

CURVE_EVERY_STEPS = 10


@dataclass
class History:
    """The curves of a training, one row per step and quantity, and what its record tells.

    Attributes:
        follow: called with every step's new values, to show them live.
        rows: (step, quantity, value, unit).
        resumed_at_steps: the steps after which the training was interrupted.
        facts: what the training found out about its cost.
    """

    follow: Callable[[int, dict[str, float]], None]
    rows: list[tuple[int, str, float, str]] = field(default_factory=list)
    resumed_at_steps: list[int] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, step: int, values: Mapping[str, tuple[float, str]]) -> None:
        """Keep the values of a step, quantity to (value, unit)."""
        self.rows += [(step, quantity, float(value), unit) for quantity, (value, unit) in values.items()]
        self.follow(step, {quantity: float(value) for quantity, (value, _) in values.items()})

    def frame(self) -> pd.DataFrame:
        """All rows, columns as in `HISTORY`."""
        return pd.DataFrame(self.rows, columns=["step", "quantity", "value", "unit"])

    def state_dict(self) -> dict[str, Any]:
        """The curves so far."""
        return {"rows": self.rows, "resumed_at_steps": self.resumed_at_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up earlier curves and show them again."""
        self.rows, self.resumed_at_steps = state_dict["rows"], state_dict["resumed_at_steps"]
        shown: dict[int, dict[str, float]] = {}
        for step, quantity, value, _ in self.rows:
            shown.setdefault(step, {})[quantity] = value
        for step, values in shown.items():
            self.follow(step, values)


def fabric_for_this_machine(precision: str) -> lightning_fabric.Fabric:
    """The accelerator at hand, repeatable for a seed; `precision` is `32-true` or `bf16-mixed`."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    return lightning_fabric.Fabric(accelerator="auto", devices=1, precision=precision)  # type: ignore[arg-type]


def fit(
    network: nn.Module,
    draw: Callable[[int, np.random.Generator], "Batch"],
    augment: Callable[..., "Batch"],
    objective: Callable[..., dict[str, Tensor]],
    validate: Callable[[nn.Module], dict[str, float]],
    *,
    settings: Mapping[str, Any],
    seed: int,
    fabric: lightning_fabric.Fabric,
    history: History,
    title: str,
    checkpoints: Path,
    identity: str,
) -> nn.Module:
    """Train a segmenter; interrupted at any moment and called again, it ends with the same weights and curves.

    AdamW, linear warm-up, polynomial decay (power 0.9), gradients clipped to norm 1. The average of the last weights
    is kept; nothing is chosen on the validation cases, they are watched.

    Args:
        network: maps images and presence to logits; its weights are changed.
        draw: gives a batch for a size and a generator, its only source of randomness.
        augment: gives a batch for a batch and `generator`, likewise.
        objective: gives `loss`, with a gradient, and its terms for a network, a batch, `progress` in 0..1 and
            `generator`. It runs in the training's precision.
        validate: gives Dice per region, pooled as the caller says, for a network.
        settings: `steps`, `batch` (samples at once), `accumulate` (batches per step), `learning_rate`, `weight_decay`,
            `warmup_steps`, `validate_every`, `ema` (decay of the average, 0 for none).
        seed: decides batches, augmentation, dropout and the objective's draws; the initial weights are the caller's.
        fabric: where to train, and in which precision.
        history: receives loss terms, learning rate, gradient norm, speed, memory and validation Dice.
        title: what the messages call this training.
        checkpoints: a folder of its own, from which an interrupted training goes on; the caller removes it.
        identity: tells plan, code and data; a checkpoint of another identity is not used.

    Returns:
        The averaged network, on the CPU, in evaluation mode.

    Raises:
        Diverged: the loss or its gradient is not finite, or the loss has grown and stays.
        Interrupted: a SIGTERM was heard and the state is saved.
        BadInput: a batch does not fit into memory.
    """
    steps, accumulate = settings["steps"], settings["accumulate"]
    sample = "slice" if getattr(network, "dims", 2) == 2 else "sample"
    adam = torch.optim.AdamW(network.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"])
    rate = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: rate_factor(step, settings))
    wrapped, optimizer = fabric.setup(network, adam)
    average, pace = averaged(network, decay=settings["ema"]), Pace()
    watch = Watch(title, checkpoints.with_name("offending_batch.safetensors"), settings["warmup_steps"])
    batches = Ahead(
        lambda generator: draw(settings["batch"], generator),
        np.random.default_rng(seed_of(seed, "slices")),
        threaded=fabric.device.type == "cuda",  # on a CPU it would take the cores that learn
    )
    with heard_signals() as heard, memory_explained(title, settings), own_chance(seed, fabric.device) as chance:
        trial = draw(settings["batch"], np.random.default_rng(seed)).to(fabric.to_device)
        with fabric.autocast():
            budget = estimate(network, trial, objective, settings=settings)
        PROGRESS.info("%s: %s", title, budget.told(sample))
        parts: dict[str, Stateful] = dict(network=network, adam=adam, rate=rate, average=average, batches=batches)
        parts |= dict(chance=chance, history=history, watch=watch, pace=pace)
        state = Checkpoints(checkpoints, identity, parts, title)
        done = state.restore()
        history.resumed_at_steps += [done] if done else []
        teller = Progress(title, steps, begun_at=done)

        for step in range(done + 1, steps + 1):
            pace.begin()
            wrapped.train()
            optimizer.zero_grad()
            losses: dict[str, Tensor] = {}
            progress = (step - 1) / max(steps - 1, 1)
            for _ in range(accumulate):
                with pace.waiting():
                    batch = augment(batches.next().to(fabric.to_device), generator=chance.augmentation)
                with fabric.autocast():
                    terms = objective(wrapped, batch, progress=progress, generator=chance.objective)
                watch.finite(step, terms["loss"], terms, batch)
                fabric.backward(terms["loss"] / accumulate)
                losses = {name: losses.get(name, 0) + value.detach() / accumulate for name, value in terms.items()}
            norm = cast(Tensor, fabric.clip_gradients(wrapped, optimizer, max_norm=1.0, error_if_nonfinite=False))
            watch.finite(step, norm, {"gradient_norm": norm}, batch)
            watch.steady(step, losses["loss"].item(), batch)
            optimizer.step()
            rate.step()
            average.update_parameters(network)
            pace.end()

            if step % CURVE_EVERY_STEPS == 0 or step == steps:
                curves = {name: (value.item(), "1") for name, value in losses.items()}
                curves |= {"learning_rate": (float(rate.get_last_lr()[0]), "1"), "gradient_norm": (norm.item(), "1")}
                curves |= pace.curves(settings["batch"] * accumulate, sample)
                history.add(step, curves | {"memory": (peak_memory_mb(fabric.device), "MB")})
            if step % settings["validate_every"] == 0 or step == steps:
                dice = validate(average.module)
                history.add(step, {f"validation_dice_{region}": (value, "1") for region, value in dice.items()})
            state.keep(step, heard)
            teller.step(step, f"loss {losses['loss'].item():.3f}")

    history.facts |= {"parameters": budget.parameters, "macs_per_sample": budget.macs_per_sample}
    history.facts |= {"voxels_per_sample": int(trial.reference[0, 0].numel())}
    history.facts |= {"steps": steps, "seconds_per_step": pace.seconds / steps}
    return average.module.cpu().eval()


def rate_factor(step: int, settings: Mapping[str, Any]) -> float:
    """Learning rate relative to its peak: linear over the warm-up, then (1 - progress) to the power 0.9."""
    warmup, steps = settings["warmup_steps"], settings["steps"]
    if step < warmup:
        return (step + 1) / warmup
    return float((1 - (step - warmup) / max(steps - warmup, 1)) ** 0.9)
