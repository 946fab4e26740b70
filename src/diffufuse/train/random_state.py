"""Where the random numbers of a training come from, so that it can be interrupted and go on with the next ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from diffufuse.seeds import seed_of


@dataclass(frozen=True)
class RandomState:
    """Where the random numbers of a training come from, besides those of its batches; dropout draws from torch's own.

    Attributes:
        augmentation: for `augment`.
        objective: for the objective.
        device: whose own generator layers draw from.
    """

    augmentation: torch.Generator
    objective: torch.Generator
    device: torch.device

    def state_dict(self) -> dict[str, Any]:
        """The states of all generators."""
        states = {"augmentation": self.augmentation.get_state(), "objective": self.objective.get_state()}
        states |= {"layers": torch.get_rng_state()}
        return states | ({"cuda": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on drawing; a state of a GPU is of no use without one."""
        self.augmentation.set_state(state_dict["augmentation"])
        self.objective.set_state(state_dict["objective"])
        torch.set_rng_state(state_dict["layers"])
        if "cuda" in state_dict and self.device.type == "cuda":
            torch.cuda.set_rng_state(state_dict["cuda"], self.device)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[RandomState]:
    """The generators of a seed; torch's own is seeded, too, and afterwards as it was before."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed_of(seed, "layers"))
        augmentation, objective = (
            torch.Generator().manual_seed(seed_of(seed, name)) for name in ("augmentation", "objective")
        )
        yield RandomState(augmentation, objective, device)
