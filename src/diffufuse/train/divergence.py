"""Stop a training that diverged, and save the batch at which it did."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_path

if TYPE_CHECKING:  # the import of batches is slow
    from diffufuse.train.batches import Batch

# Diverged: a loss of this many times its median, for this many consecutive updates.
LOST_AT, LOST_AFTER, MEDIAN_OF = 10.0, 20, 101


class Diverged(BadInput, FloatingPointError):
    """A training diverged: its loss or gradient is not finite, or its loss stays far above its median."""


@dataclass
class Watch:
    """Stops a training that diverged, and saves the batch at which it did.

    Attributes:
        title: name of this training in messages.
        evidence: file for that batch, with tensors but no case names.
        warmup_steps: number of steps in which the loss only has to be finite.
        losses: name of a loss → its values at the last regular updates after the warm-up.
        lost: name of a loss → number of consecutive updates in which it is far above their median.
    """

    title: str
    evidence: Path
    warmup_steps: int
    losses: dict[str, deque[float]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)

    def finite(self, step: int, value: Tensor, terms: Mapping[str, Tensor], batch: "Batch") -> None:
        """Stop unless a value is finite; the message names its first term that is not.

        Raises:
            Diverged: the value is NaN or infinite.
        """
        if torch.isfinite(value):
            return
        not_finite = [name for name, term in terms.items() if not torch.isfinite(term) and name != "loss"]
        name = not_finite[0] if not_finite else "loss"
        self._stop(f"{name} is {terms[name].item()} at step {step}", batch)

    def steady(self, step: int, loss: float, batch: "Batch", *, name: str = "loss") -> None:
        """Stop when a loss stays far above its running median; the first steps after the warm-up are not checked.

        Args:
            step: number of the step.
            loss: its value.
            batch: its batch.
            name: of the loss, where a training has several.

        Raises:
            Diverged: for `LOST_AFTER` consecutive updates.
        """
        if step <= self.warmup_steps:
            return
        losses = self.losses.setdefault(name, deque(maxlen=MEDIAN_OF))
        median = float(np.median(losses)) if len(losses) >= LOST_AFTER else math.inf
        if not 0 < LOST_AT * median < loss:
            losses.append(loss)
            self.lost[name] = 0
            return
        self.lost[name] += 1
        if self.lost[name] == LOST_AFTER:
            self._stop(
                f"{name} is {loss:.3g} at step {step} and was more than {LOST_AT:g} times its median, {median:.3g}, "
                f"for {LOST_AFTER} updates",
                batch,
            )

    def forget(self) -> None:
        """Begin anew, where a training goes on with another loss."""
        self.losses.clear()
        self.lost.clear()

    def _stop(self, what: str, batch: "Batch") -> NoReturn:
        tensors = {part.name: getattr(batch, part.name).detach().cpu().contiguous() for part in fields(batch)}
        with atomic_path(self.evidence) as partial:
            save_file(tensors, partial)
        raise Diverged(f"{self.title}: {what}; see the batch in {self.evidence}, or lower the learning rate.")

    def state_dict(self) -> dict[str, Any]:
        """The losses so far."""
        return {"losses": {name: list(values) for name, values in self.losses.items()}, "lost": dict(self.lost)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the losses."""
        self.losses = {name: deque(values, maxlen=MEDIAN_OF) for name, values in state_dict["losses"].items()}
        self.lost = dict(state_dict["lost"])
