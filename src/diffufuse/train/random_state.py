"""The random state of a training, saved in checkpoints."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from diffufuse.collective import processes
from diffufuse.seeds import seed_of


@dataclass(frozen=True)
class RandomState:
    """Random generators of a training, apart from that of its batches; dropout uses torch's global generator.

    Attributes:
        augmentation: for `augment`.
        objective: for the objective.
        device: the device of the layers, whose global generator is saved, too.
        seed: of the training.
    """

    augmentation: torch.Generator
    objective: torch.Generator
    device: torch.device
    seed: int

    def begin(self, step: int) -> None:
        """Seed dropout for a step where several processes share the training: each of its samples needs its own.

        It follows from seed, step and process, so that a checkpoint of one process is enough for all of them.
        """
        if processes() > 1:
            torch.manual_seed(seed_of(self.seed, "layers", step, torch.distributed.get_rank()))

    def state_dict(self) -> dict[str, Any]:
        """The states of all generators."""
        states = {"augmentation": self.augmentation.get_state(), "objective": self.objective.get_state()}
        states |= {"layers": torch.get_rng_state()}
        return states | ({"cuda": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the states; that of a GPU is ignored without one."""
        self.augmentation.set_state(state_dict["augmentation"])
        self.objective.set_state(state_dict["objective"])
        torch.set_rng_state(state_dict["layers"])
        if "cuda" in state_dict and self.device.type == "cuda":
            torch.cuda.set_rng_state(state_dict["cuda"], self.device)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[RandomState]:
    """Generators seeded by `seed`; torch's global generator is seeded, too, and restored on exit."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed_of(seed, "layers"))
        augmentation, objective = (
            torch.Generator().manual_seed(seed_of(seed, name)) for name in ("augmentation", "objective")
        )
        yield RandomState(augmentation, objective, device, seed)
