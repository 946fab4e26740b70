"""The training loop."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning_fabric
import torch
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import nn

from diffufuse.errors import BadInput
from diffufuse.logs import PROGRESS, Progress
from diffufuse.processes import is_first
from diffufuse.train.budget import Pace, memory_explained, peak_memory_mb
from diffufuse.train.checkpoints import Checkpoints, received_signals
from diffufuse.train.divergence import Watch
from diffufuse.train.history import CURVE_EVERY_STEPS, History, with_units
from diffufuse.train.random_state import seeded

if TYPE_CHECKING:
    from diffufuse.train.regimens import Regimen


# The others wait for as long as the first process validates; if one of them ends, all are ended.
LONGEST_WAIT = timedelta(days=1)


class _Shared(DDPStrategy):
    """DDP without its wrapper, as not every pass of a step is by `forward`: a `Player` averages the gradients."""

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]
        return module


def fabric_for_this_machine(precision: str, *, processes: int = 1) -> lightning_fabric.Fabric:
    """Fabric on the available accelerator, deterministic for a seed.

    Args:
        precision: `32-true` or `bf16-mixed`.
        processes: that share the training, each with a GPU of this machine, or without one on its CPU. The first one
            starts the others, which run its program from the beginning.

    Raises:
        BadInput: there are fewer GPUs than processes.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings: dict[str, Any] = {"accelerator": "auto", "devices": processes, "precision": precision}
    if processes > 1:
        if 0 < torch.cuda.device_count() < processes:
            raise BadInput(
                f"DIFFUFUSE_PROCESSES: expected a GPU for each of {processes} processes, got "
                f"{torch.cuda.device_count()}; lower it, or ask for more GPUs."
            )
        strategy = _Shared(cluster_environment=LightningEnvironment(), timeout=LONGEST_WAIT)
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
        settings["strategy"] = strategy
    fabric = lightning_fabric.Fabric(**settings)
    fabric.launch()
    return fabric


def fit(
    regimen: "Regimen",
    *,
    settings: Mapping[str, Any],
    seed: int,
    device: torch.device,
    history: History,
    title: str,
    checkpoints: Path,
    identity: str,
) -> nn.Module:
    """Train a network; resuming an interrupted training gives the same weights and curves.

    Where several processes share the training, all of them restore and hold its whole state; the first one validates,
    obeys signals and writes.

    Args:
        regimen: the training step.
        settings: `warmup_steps`, `validate_every`.
        seed: of augmentation, dropout and the random draws of the objective.
        device: of the training.
        history: receives the regimen's curves, speed, memory and validation.
        title: name of this training in messages.
        checkpoints: folder of checkpoints, from which a training resumes; the caller removes it.
        identity: of plan, code and data; a checkpoint of another identity is not used.

    Returns:
        The trained network, on the CPU, in evaluation mode.

    Raises:
        Diverged: the loss or its gradient is not finite, or the loss stays far above its median.
        Interrupted: a SIGTERM was received and the state is saved.
        BadInput: a batch does not fit into memory.
    """
    steps, pace = regimen.steps, Pace()
    watch = Watch(title, checkpoints.with_name("offending_batch.safetensors"), settings["warmup_steps"])
    with received_signals() as signals, memory_explained(title, settings), seeded(seed, device) as random_state:
        budget = regimen.estimate()
        PROGRESS.info("%s: %s", title, budget.text(regimen.sample))
        parts = {**regimen.parts, "random_state": random_state, "history": history, "watch": watch, "pace": pace}
        state = Checkpoints(checkpoints, identity, parts, title)
        done = state.restore()
        history.resumed_at_steps += [done] if done else []
        progress = Progress(title, steps, begun_at=done)

        for step in range(done + 1, steps + 1):
            pace.begin()
            random_state.begin(step)
            share = (step - 1) / max(steps - 1, 1)
            values = regimen.step(step, progress=share, random_state=random_state, pace=pace, watch=watch)
            pace.end()

            if step % CURVE_EVERY_STEPS == 0 or step == steps:
                curves = with_units({name: value.item() for name, value in values.items()})
                curves |= pace.curves(regimen.samples_per_step, regimen.sample)
                history.add(step, curves | {"memory": (peak_memory_mb(device), "MB")})
            if is_first() and (step % settings["validate_every"] == 0 or step == steps):
                history.add(step, with_units(regimen.validate()))
            if is_first():
                state.keep(step, signals)
            progress.step(step, f"loss {values['loss'].item():.3f}")
        if not steps:
            history.add(0, with_units(regimen.validate()))

    history.facts |= {"parameters": budget.parameters, "macs_per_sample": budget.macs_per_sample}
    history.facts |= {"voxels_per_sample": budget.voxels_per_sample}
    history.facts |= {"steps": steps, "seconds_per_step": pace.seconds / max(steps, 1)}
    return regimen.trained()
