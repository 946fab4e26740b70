"""The selective scan in plain PyTorch against its sequential definition and against mambapy, on one thread.

Inputs are noise from fixed seeds. Times are those of the processor; ours and the loop run in turns. The peer is
`peers/selective_scan_mambapy.py` in an environment of its own (mambapy, torch, NumPy), whose interpreter is named by
`--mambapy` or `$PEER_MAMBAPY`. Protocol: its arguments are an .npz of the inputs, an .npz to write, 1 for gradients
too, and the number of repeats; the last line that it prints is JSON with its seconds and its release.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from compare import Row, Timing, compared, write
from torch import Tensor
from torch.nn import functional

from diffufuse.models.layers.selective_scan import selective_scan

PEER = Path(__file__).with_name("peers") / "selective_scan_mambapy.py"
NAMES = ("values", "steps", "rates", "write", "read")
NEAR, REPEATS = 1e-5, 5
GOAL = "ratio >= 2"  # against the loop
Parts = list[Tensor]
Results = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A scan.

    Attributes:
        what: in words.
        shape: numbers of moments, samples, scans, channels and states.
        learns: whether the gradient is made too.
    """

    what: str
    shape: tuple[int, int, int, int, int]
    learns: bool

    @property
    def name(self) -> str:
        """Short and unique."""
        return f"{self.what}, {'scan and gradient' if self.learns else 'scan'}"


CASES = (
    Case("a short sequence", (256, 1, 1, 96, 16), False),
    Case("a short sequence", (256, 1, 1, 96, 16), True),
    Case("fusionmamba_small, a batch of patches", (1600, 16, 4, 16, 16), False),
    Case("fusionmamba_small, a batch of patches", (1600, 16, 4, 16, 16), True),
    Case("fusionmamba_paper, a slice of 256x256", (4096, 1, 4, 192, 16), False),
)


def parts_of(case: Case) -> Parts:
    """Inputs of a scan, as of an untrained network."""
    draw = torch.Generator().manual_seed(0)
    moments, samples, scans, channels, states = case.shape
    values, steps = (torch.randn(moments, samples, scans, channels, generator=draw) for _ in range(2))
    write_in, read = (torch.randn(moments, samples, scans, states, generator=draw) for _ in range(2))
    rates = -torch.arange(1.0, states + 1).repeat(scans, channels, 1)
    return [values, functional.softplus(steps - 4), rates, write_in, read]


def loop(values: Tensor, steps: Tensor, rates: Tensor, write_in: Tensor, read: Tensor) -> Tensor:
    """The definition: one moment after the other."""
    state, told = values.new_zeros(*values.shape[1:], rates.shape[-1]), []
    for u, delta, b, c in zip(values, steps, write_in, read, strict=True):
        state = torch.exp(delta.unsqueeze(-1) * rates) * state + (delta * u).unsqueeze(-1) * b.unsqueeze(-2)
        told.append((state * c.unsqueeze(-2)).sum(dim=-1))
    return torch.stack(told)


def run(scan: Callable[..., Tensor], parts: Parts, *, learns: bool) -> Results:
    """What a scan gives: its values, and its gradients of their sum."""
    given = [part.clone().requires_grad_(learns) for part in parts]
    found = scan(*given)
    if learns:
        found.sum().backward()
    gradients = {name: part.grad.numpy() for name, part in zip(NAMES, given, strict=True) if part.grad is not None}
    return {"found": found.detach().numpy()} | gradients


def in_turns(calls: list[Callable[[], object]]) -> list[Timing]:
    """Seconds of the processor of every call, in turns; a first turn does not count."""
    took: list[list[float]] = []
    for _ in range(REPEATS + 1):
        row = []
        for call in calls:
            start = time.process_time()
            call()
            row.append(time.process_time() - start)
        took.append(row)
    return [timing_of(list(column)) for column in zip(*took[1:], strict=True)]


def timing_of(seconds: list[float]) -> Timing:
    """Milliseconds."""
    ms = [1000 * value for value in seconds]
    return Timing(min(ms), float(np.median(ms)), tuple(ms))


def mambapy(interpreter: str, case: Case, parts: Parts) -> tuple[Timing, Results, str]:
    """The peer's times, what it gives, and its release."""
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(file, **{name: part.numpy() for name, part in zip(NAMES, parts, strict=True)})
        command = [interpreter, str(PEER), str(file), str(out), str(int(case.learns)), str(REPEATS)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"mambapy failed: {done.stderr.strip().splitlines()[-1:]}")
        answer = json.loads(done.stdout.splitlines()[-1])
        with np.load(out) as made:
            return timing_of(answer["seconds"]), dict(made), f"mambapy {answer['release']}"


def agreement(made: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray]) -> tuple[bool, float]:
    """Whether all results are those of double precision, and the largest difference relative to their scale."""
    most = max(float(np.abs(made[name] - value).max() / np.abs(value).max()) for name, value in exact.items())
    return most < NEAR and made.keys() == exact.keys(), most


def rows_of(case: Case, interpreter: str | None) -> list[Row]:
    """Ours against the loop, and against mambapy if it is there."""
    parts = parts_of(case)
    exact = run(loop, [part.double() for part in parts], learns=case.learns)
    scans = (selective_scan, loop)
    made = [run(scan, parts, learns=case.learns) for scan in scans]
    ours, theirs = in_turns([lambda scan=scan: run(scan, parts, learns=case.learns) for scan in scans])
    peers = [("loop over time, the same layout", theirs, made[1], GOAL)]
    if interpreter:
        timing, results, release = mambapy(interpreter, case, parts)
        peers.append((release, timing, results, ""))
    rows = []
    for peer, timing, results, goal in peers:
        (agrees, mine), (same, other) = agreement(made[0], exact), agreement(results, exact)
        shape = " x ".join(map(str, case.shape))
        rows.append(
            compared(
                f"{case.name}, against {peer.partition(' ')[0]}",
                f"{shape} moments, samples, scans, channels and states",
                ours,
                timing,
                unit="ms",
                peer=peer,
                goal=goal,
                agrees=agrees and same,
                how_agrees=f"largest difference from double precision over the scale: {mine:.1e} and {other:.1e}",
            )
        )
    return rows


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mambapy", default=os.environ.get("PEER_MAMBAPY"), help="the peer's Python")
    interpreter = parser.parse_args().mambapy
    if not interpreter:
        print("no mambapy to compare with: name its Python with --mambapy")
    torch.set_num_threads(1)
    write("selective_scan", [row for case in CASES for row in rows_of(case, interpreter)], packages=["torch"])


if __name__ == "__main__":
    main()
