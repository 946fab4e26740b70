"""When a training is lost, it stops and says at which batch."""

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

if TYPE_CHECKING:  # a batch is known by its tensors; its stores load slowly
    from diffufuse.train.batches import Batch

# A loss this many times its median, for this many steps on end, does not come back.
LOST_AT, LOST_AFTER_STEPS, MEDIAN_OF_STEPS = 10.0, 20, 101


class Diverged(BadInput, FloatingPointError):
    """A training is lost: its loss or gradient is not finite, or its loss has grown and stays."""


@dataclass
class Watch:
    """Stops a training that is lost, and keeps the batch at which it showed.

    Attributes:
        title: what the messages call this training.
        evidence: where that batch is kept: tensors alone, no names.
        warmup_steps: so long the loss may do as it likes, if it is finite.
        losses: of the last steps after them that were as they should be.
        lost: for how many steps on end the loss was far above their median.
    """

    title: str
    evidence: Path
    warmup_steps: int
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=MEDIAN_OF_STEPS))
    lost: int = 0

    def finite(self, step: int, value: Tensor, terms: Mapping[str, Tensor], batch: "Batch") -> None:
        """Stop unless a value is finite; the message names the first of its terms that is not.

        Raises:
            Diverged: the value is NaN or infinite.
        """
        if torch.isfinite(value):
            return
        guilty = [name for name, term in terms.items() if not torch.isfinite(term) and name != "loss"]
        name = guilty[0] if guilty else "loss"
        self._stop(f"{name} is {terms[name].item()} at step {step}", batch)

    def steady(self, step: int, loss: float, batch: "Batch") -> None:
        """Stop when the loss stays far above its running median; the first steps after the warm-up are not judged.

        Raises:
            Diverged: it did so for `LOST_AFTER_STEPS` steps on end.
        """
        if step <= self.warmup_steps:
            return
        median = float(np.median(self.losses)) if len(self.losses) >= LOST_AFTER_STEPS else math.inf
        if not 0 < LOST_AT * median < loss:
            self.losses.append(loss)
            self.lost = 0
            return
        self.lost += 1
        if self.lost == LOST_AFTER_STEPS:
            self._stop(
                f"loss is {loss:.3g} at step {step} and was more than {LOST_AT:g} times its median, {median:.3g}, for "
                f"{LOST_AFTER_STEPS} steps",
                batch,
            )

    def _stop(self, what: str, batch: "Batch") -> NoReturn:
        tensors = {part.name: getattr(batch, part.name).detach().cpu().contiguous() for part in fields(batch)}
        with atomic_path(self.evidence) as partial:
            save_file(tensors, partial)
        raise Diverged(f"{self.title}: {what}; see the batch in {self.evidence}, or lower the learning rate.")

    def state_dict(self) -> dict[str, Any]:
        """What was seen so far."""
        return {"losses": list(self.losses), "lost": self.lost}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on watching."""
        self.losses.extend(state_dict["losses"])
        self.lost = state_dict["lost"]
