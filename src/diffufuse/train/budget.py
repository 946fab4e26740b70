"""Cost of a training: estimate before the first step, throughput while it runs, and a message when out of memory."""

import copy
import math
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

if TYPE_CHECKING:  # the import of batches is slow
    from diffufuse.train.batches import Batch

ADAM_BYTES = 8  # per parameter: two moments in 32 bits
OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


@dataclass(frozen=True)
class Budget:
    """Estimated cost of a training.

    Attributes:
        parameters: of the network.
        macs_per_sample: multiply-accumulate operations for one sample's logits.
        voxels_per_sample: voxels of these logits.
        seconds_per_step: forward and backward pass of one optimizer step.
        seconds: of all steps, without loading batches and validation.
        memory_mb: peak of the process, or of the GPU if there is one.
    """

    parameters: int
    macs_per_sample: int
    voxels_per_sample: int
    seconds_per_step: float
    seconds: float
    memory_mb: float

    def text(self, sample: str) -> str:
        """The budget as one line; `sample` names the unit of a batch."""
        return (
            f"{self.parameters / 1e6:.3g} M parameters, {self.macs_per_sample / 1e9:.3g} GMACs a {sample}, "
            f"about {self.seconds_per_step:.2g} s a step, {duration_text(self.seconds)} in all, "
            f"{self.memory_mb / 1e3:.2g} GB"
        )


def estimate(
    network: nn.Module, batch: "Batch", objective: Callable[..., dict[str, Tensor]], *, settings: Mapping[str, Any]
) -> Budget:
    """Estimate the cost of a training from forward and backward passes of a copy of the network.

    Neither the network nor any random state is changed. Multiply-accumulates are half of what
    `torch.utils.flop_counter` counts for the logits of a batch: matrix products, convolutions and attention.

    Args:
        network: on the device of the training.
        batch: a batch of the training.
        objective: returns `loss` for a network and a batch.
        settings: `steps` and `accumulate`.
    """
    device = batch.images.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        trial = copy.deepcopy(network)
        macs = _macs(trial.train(), batch)
        for _ in range(2):  # the first pass takes longer
            began = time.monotonic()
            terms = objective(trial.train(), batch, progress=0.0, generator=torch.Generator().manual_seed(0))
            terms["loss"].backward()
            memory_mb = peak_memory_mb(device)
            seconds = (time.monotonic() - began) * settings["accumulate"]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Budget(
        parameters=parameters,
        macs_per_sample=macs // len(batch.images),
        voxels_per_sample=math.prod(batch.reference.shape[2:]),
        seconds_per_step=seconds,
        seconds=seconds * settings["steps"],
        memory_mb=memory_mb + ADAM_BYTES * parameters / 1e6,
    )


def estimate_of_forward(network: nn.Module, batch: "Batch") -> Budget:
    """The cost of a network that is not trained: that of its logits, or its image, alone.

    Args:
        network: on the device of the batch.
        batch: a batch of the training cases.
    """
    return Budget(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        macs_per_sample=_macs(network, batch) // len(batch.images),
        voxels_per_sample=math.prod(batch.reference.shape[2:]),
        seconds_per_step=0.0,
        seconds=0.0,
        memory_mb=peak_memory_mb(batch.images.device),
    )


def _macs(network: nn.Module, batch: "Batch") -> int:
    # unfused attention: the counter does not see into the fused kernels of a CPU
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(batch.images, batch.presence)
    return int(counter.get_total_flops() // 2)


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory so far in 10^6 bytes: of the GPU, or of the process without one."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes / 1e6


def duration_text(seconds: float) -> str:
    """Format a duration: 40 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Pace:
    """Throughput of a training, without validation, checkpoints and interruptions.

    Attributes:
        seconds: of all steps so far, including those before an interruption.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._reset()

    def begin(self) -> None:
        """Start timing a step."""
        self._began = time.monotonic()

    def end(self) -> None:
        """Stop timing a step."""
        elapsed = time.monotonic() - self._began
        self.seconds += elapsed
        self._passed += elapsed
        self._steps += 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent waiting for a batch."""
        began = time.monotonic()
        yield
        self._waited += time.monotonic() - began

    def curves(self, samples: int, sample: str) -> dict[str, tuple[float, str]]:
        """Throughput for this many samples per step and share of waiting time, since the last call."""
        elapsed = max(self._passed, 1e-9)
        curves = {
            "throughput": (samples * self._steps / elapsed, f"{sample}s/s"),
            "waiting": (self._waited / elapsed, "1"),
        }
        self._reset()
        return curves

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the seconds so far."""
        self.seconds = state_dict["seconds"]

    def _reset(self) -> None:
        self._passed, self._waited, self._steps = 0.0, 0.0, 0


@contextmanager
def memory_explained(title: str, settings: Mapping[str, Any]) -> Iterator[None]:
    """Turn out-of-memory errors into a message that says what to do.

    Args:
        title: name of the training in the message.
        settings: `batch`, `patch` if there is one, and `accumulate`.

    Raises:
        BadInput: instead of MemoryError, torch.OutOfMemoryError or a RuntimeError of an allocation.
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
