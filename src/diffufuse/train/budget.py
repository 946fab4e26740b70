"""What a training costs: estimated before its first step, measured while it runs, explained when memory ends."""

import copy
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from diffufuse.errors import BadInput

if TYPE_CHECKING:  # a batch is known by its tensors; its stores load slowly
    from diffufuse.train.batches import Batch

ADAM_BYTES = 8  # per parameter: two moments in 32 bits
OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


@dataclass(frozen=True)
class Budget:
    """The cost of a training, estimated before its first step.

    Attributes:
        parameters: of the network.
        macs_per_sample: multiply-accumulate operations for one sample's logits.
        voxels_per_sample: that these logits are of.
        seconds_per_step: forward and backward pass of one optimizer step.
        seconds: all steps; drawing batches and validating come on top.
        memory_mb: peak of the process, or of the GPU where there is one.
    """

    parameters: int
    macs_per_sample: int
    voxels_per_sample: int
    seconds_per_step: float
    seconds: float
    memory_mb: float

    def text(self, sample: str) -> str:
        """The budget as one line for a person; `sample` is what a batch consists of."""
        return (
            f"{self.parameters / 1e6:.3g} M parameters, {self.macs_per_sample / 1e9:.3g} GMACs a {sample}, "
            f"about {self.seconds_per_step:.2g} s a step, {duration_text(self.seconds)} in all, "
            f"{self.memory_mb / 1e3:.2g} GB"
        )


def estimate(
    network: nn.Module, batch: "Batch", objective: Callable[..., dict[str, Tensor]], *, settings: Mapping[str, Any]
) -> Budget:
    """What a training will cost, from a prediction and real forward and backward passes of a copy of the network.

    Neither the network nor any generator of random numbers is changed. Multiply-accumulates are half of what
    `torch.utils.flop_counter` counts for the logits of a batch: matrix products, convolutions and attention.

    Args:
        network: on the device where it will be trained.
        batch: as many samples as a training will see at once.
        objective: gives `loss` for a network and a batch.
        settings: `steps` and `accumulate`.
    """
    device = batch.images.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        trial = copy.deepcopy(network)
        # attention step by step: the counter does not see into the fused kernels of a CPU
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            trial.train()(batch.images, batch.presence)
        for _ in range(2):  # a first pass takes longer than all that follow
            began = time.monotonic()
            terms = objective(trial.train(), batch, progress=0.0, generator=torch.Generator().manual_seed(0))
            terms["loss"].backward()
            memory_mb = peak_memory_mb(device)
            seconds = (time.monotonic() - began) * settings["accumulate"]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Budget(
        parameters=parameters,
        macs_per_sample=counter.get_total_flops() // 2 // len(batch.images),
        voxels_per_sample=batch.reference[0, 0].numel(),
        seconds_per_step=seconds,
        seconds=seconds * settings["steps"],
        memory_mb=memory_mb + ADAM_BYTES * parameters / 1e6,
    )


def peak_memory_mb(device: torch.device) -> float:
    """The most memory that was in use so far, in 10^6 bytes: of the GPU, or of the process if there is none."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes / 1e6


def duration_text(seconds: float) -> str:
    """A duration as a person reads it: 40 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Pace:
    """How fast a training goes; validation, checkpoints and interruptions do not count.

    Attributes:
        seconds: in all steps so far, those before an interruption included.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._reset()

    def begin(self) -> None:
        """A step begins."""
        self._began = time.monotonic()

    def end(self) -> None:
        """A step has ended."""
        passed = time.monotonic() - self._began
        self.seconds += passed
        self._passed += passed
        self._steps += 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within it the network waits for a batch."""
        began = time.monotonic()
        yield
        self._waited += time.monotonic() - began

    def curves(self, samples: int, sample: str) -> dict[str, tuple[float, str]]:
        """Throughput for so many samples a step, and the share of time spent waiting, since last asked for."""
        passed = max(self._passed, 1e-9)
        curves = {
            "throughput": (samples * self._steps / passed, f"{sample}s/s"),
            "waiting": (self._waited / passed, "1"),
        }
        self._reset()
        return curves

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.seconds = state_dict["seconds"]

    def _reset(self) -> None:
        self._passed, self._waited, self._steps = 0.0, 0.0, 0


@contextmanager
def memory_explained(title: str, settings: Mapping[str, Any]) -> Iterator[None]:
    """Say what to do when a training needs more memory than there is.

    Args:
        title: what the message calls the training.
        settings: `batch`, `patch` if there is one, and `accumulate`.

    Raises:
        BadInput: instead of the three kinds of error by which memory ends.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        lacks = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not lacks and not any(text in str(error) for text in OUT_OF_MEMORY):
            raise
        raise BadInput(
            f"{title}: a batch of {settings['batch']} patches of {settings.get('patch', 'this size')} voxels does not "
            f"fit into memory; in config/models.yaml, halve `batch` and double `accumulate` (now "
            f"{settings['accumulate']}), which learns the same, or make `patch` smaller."
        ) from error
