"""The selective scan of mambapy, as its Mamba block calls it.

Protocol in ../selective_scan.py; seconds are those of the processor.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from mambapy.pscan import pscan
from torch import Tensor

torch.set_num_threads(1)
NAMES = ("values", "steps", "rates", "write", "read")


def scanned(values: Tensor, steps: Tensor, rates: Tensor, write: Tensor, read: Tensor) -> Tensor:
    """Its scan has no parameters of several scans, so the terms are made here; sample and time come first in it."""
    factors = torch.exp(steps.unsqueeze(-1) * rates)
    terms = (steps * values).unsqueeze(-1) * write.unsqueeze(-2)
    of_time, batch, scans, channels, states = terms.shape
    folded = (part.transpose(0, 1).reshape(batch, of_time, scans * channels, states) for part in (factors, terms))
    known = pscan(*folded).reshape(batch, of_time, scans, channels, states).transpose(0, 1)
    return (known @ read.unsqueeze(-1)).squeeze(-1)


def main(file: str, out: str, learns: str, repeats: str) -> None:
    """Time it, and keep what it made."""
    given = np.load(file)
    parts = [torch.from_numpy(given[name]).requires_grad_(bool(int(learns))) for name in NAMES]
    seconds = []
    for _ in range(int(repeats) + 1):
        for part in parts:
            part.grad = None
        start = time.process_time()
        found = scanned(*parts)
        if int(learns):
            found.sum().backward()
        seconds.append(time.process_time() - start)
    made = {"found": found.detach().numpy()}
    made |= {name: part.grad.numpy() for name, part in zip(NAMES, parts, strict=True) if part.grad is not None}
    np.savez(out, **made)
    print(json.dumps({"seconds": seconds[1:], "release": version("mambapy")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
