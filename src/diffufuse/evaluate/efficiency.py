"""Inference cost of a trained model: size, operations, latency and memory for one slice or one volume."""

import logging
import os
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from diffufuse.evaluate.cost_schemas import EFFICIENCY, LATENCIES
from diffufuse.models import is_slicewise
from diffufuse.plan.plans import WEIGHTS, load_model

if TYPE_CHECKING:  # its code has no influence on the cost of a forward pass
    from diffufuse.predict.machine import Precision

PRECISIONS: tuple["Precision", ...] = ("32-true", "bf16-mixed")
BATCHES = (1, 8)
REPEATS, LIMIT_S = 30, 20.0
MAX_WARMUPS, WARMUP_TOLERANCE = 5, 0.05
CHILD = "from diffufuse.evaluate.efficiency import write_peak_memory; write_peak_memory()"
# glibc returns freed memory at once, so that the memory of a forward pass shows in the size of the process.
MALLOC_SETTINGS = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def measure(plan: Mapping[str, Any], weights: str | os.PathLike[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Inference cost of the model of a plan, on the CPU and on the GPU if there is one, in fp32 and in bf16-mixed.

    A sample is a patch of the training's size with all modalities, of which a slice-wise model predicts one slice; its
    values are random and have no influence. One thread; the caller makes sure that nothing else runs.

    Args:
        plan: from `make_plan`.
        weights: folder with the safetensors of that plan.

    Returns:
        Frames in the schemas `EFFICIENCY`, a row for each device and precision, and `LATENCIES`. A batch
        that does not fit in half of the memory is left out.
    """
    network = load_model(plan, weights)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    rows, latencies = [], []
    with one_thread():
        sizes = sizes_of(network, plan) | {"file_mb": (Path(weights) / WEIGHTS).stat().st_size / 1e6}
        for device, precision in ((device, precision) for device in devices for precision in PRECISIONS):
            network_on_device = network.to(device)
            names = {"dataset": plan["dataset"], "model": plan["model"], "device": name_of(device), "threads": 1}
            names |= {"precision": precision}
            peak_mb = peak_memory_mb(network_on_device, sample_of(plan).to(device), precision=precision)
            rows.append(names | sizes | {"peak_memory_mb": peak_mb})
            for batch in (batch for batch in BATCHES if batch == 1 or fits(batch, peak_mb, device)):
                milliseconds = timed_ms(
                    partial(logits, network_on_device, sample_of(plan, batch).to(device), precision)
                )
                message = "{} on {}, {}, batch {}: median {:.3g} ms, 95 % within {:.3g} ms"
                logging.getLogger(__name__).info(
                    message.format(plan["model"], device, precision, batch, *median_and_p95(milliseconds))
                )
                latencies += [
                    names | {"batch": batch, "repeat": repeat, "milliseconds": value}
                    for repeat, value in enumerate(milliseconds)
                ]
    return pd.DataFrame(rows, columns=EFFICIENCY.names), pd.DataFrame(latencies, columns=LATENCIES.names)


def sizes_of(network: nn.Module, plan: Mapping[str, Any]) -> dict[str, int]:
    """Parameters of a network, predicted voxels per sample, and their multiply-accumulates."""
    x, y, z = plan["block"]["training"]["patch"]
    return {
        "voxels": x * y * (1 if is_slicewise(plan["block"]) else z),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "macs": macs_of(network, sample_of(plan)),
    }


def sample_of(plan: Mapping[str, Any], batch: int = 1) -> Float[Tensor, "batch modality x y z"]:
    """Images of a plan's modalities and patch, from a fixed seed; gray levels in 0..1 as well as any others."""
    shape = (batch, len(plan["modalities"]), *plan["block"]["training"]["patch"])
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def macs_of(network: nn.Module, images: Float[Tensor, "batch modality x y z"]) -> int:
    """Multiply-accumulates of a batch's logits or fused images, counted as in `budget.estimate`, on the meta device.

    Half of what `torch.utils.flop_counter` counts: matrix products, convolutions and attention. A rule without
    parameters is run for real, as it may compute outside of torch, where nothing is counted.

    Args:
        network: is not changed.
        images: (B, M, X, Y, Z); their shape alone matters.
    """
    if next(network.parameters(), None) is None:
        shape_only, meta_images = network, images
    else:
        shape_only, meta_images = deepcopy(network).to("meta"), images.to("meta")
    # on the meta device attention is unfused; the counter does not see into the fused kernels of a CPU
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shape_only(meta_images, torch.ones_like(meta_images, dtype=torch.bool))
    return counter.get_total_flops() // 2


def logits(network: nn.Module, images: Float[Tensor, "batch modality x y z"], precision: "Precision") -> Tensor:
    """One forward pass with all modalities, as in prediction; synchronized on a GPU."""
    kind = images.device.type
    with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=precision == "bf16-mixed"):
        answer = network(images, torch.ones_like(images, dtype=torch.bool)).float()
    if kind == "cuda":
        torch.cuda.synchronize(images.device)
    return answer


def timed_ms(call: Callable[[], object]) -> list[float]:
    """Milliseconds of 30 calls, or of as many as 20 seconds allow, at least one.

    Up to five warm-up calls come before; they end when two in a row differ by less than 5 %.
    """
    warmups = [_one_ms(call), _one_ms(call)]
    while len(warmups) < MAX_WARMUPS and abs(warmups[-1] - warmups[-2]) > WARMUP_TOLERANCE * warmups[-1]:
        warmups.append(_one_ms(call))
    began, milliseconds = time.perf_counter(), [_one_ms(call)]
    while len(milliseconds) < REPEATS and time.perf_counter() - began < LIMIT_S:
        milliseconds.append(_one_ms(call))
    return milliseconds


def median_and_p95(milliseconds: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile, linear between neighbors; NaN for none."""
    if not len(milliseconds):
        return float("nan"), float("nan")
    median, slow = np.quantile(milliseconds, [0.5, 0.95])
    return float(median), float(slow)


def peak_memory_mb(
    network: nn.Module, images: Float[Tensor, "batch modality x y z"], *, precision: "Precision"
) -> float:
    """Peak memory of the network and one forward pass, in 10^6 bytes.

    The network's own size plus the peak that a second pass adds: on a GPU as torch counts allocations; on a CPU the
    growth of a fresh process, without the memory of this process and without the libraries that the first pass loads.

    Args:
        network: in evaluation mode, on the device of the images.
        images: a batch.
        precision: of the pass.

    Returns:
        NaN where the system does not report the peak of a process: other systems than Linux.
    """
    own_mb = sum(part.numel() * part.element_size() for part in network.state_dict().values()) / 1e6
    if images.device.type == "cuda":
        return own_mb + _growth_on_gpu_mb(partial(logits, network, images, precision))
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=pickle.dumps((network, images, precision)),
        env={**os.environ, **MALLOC_SETTINGS, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return own_mb + float(done.stdout)


def write_peak_memory() -> None:
    """Read pickled network, images and precision from stdin; write the growth of this process in a pass, MB."""
    network, images, precision = pickle.load(sys.stdin.buffer)
    with one_thread():
        sys.stdout.write(str(_growth_of_process_mb(partial(logits, network, images, precision))))


def fits(batch: int, peak_mb: float, device: str) -> bool:
    """Whether a batch fits in half of the memory; True if the memory of one sample is unknown."""
    gpu = device == "cuda"
    total = torch.cuda.get_device_properties(0).total_memory if gpu else _physical_bytes()
    return not batch * peak_mb > total / 2e6


def name_of(device: str) -> str:
    """Name of a device in the tables: cpu, or the name of the GPU."""
    return torch.cuda.get_device_name() if device == "cuda" else device


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread within the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _one_ms(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


def _physical_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _growth_on_gpu_mb(call: Callable[[], object]) -> float:
    call()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def _growth_of_process_mb(call: Callable[[], object]) -> float:
    call()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = _process_mb("VmRSS")
        call()
        return _process_mb("VmHWM") - before
    except OSError:
        return float("nan")


def _process_mb(what: str) -> float:
    [kilobytes] = re.findall(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024 / 1e6
