"""Where and how precisely a network runs."""

from contextlib import AbstractContextManager
from itertools import chain
from typing import Literal

import torch
from torch import nn

Precision = Literal["32-true", "bf16-mixed"]


def device_of(network: nn.Module) -> torch.device:
    """The device of a network's parameters and buffers; the CPU for one that has none."""
    return next((part.device for part in chain(network.parameters(), network.buffers())), torch.device("cpu"))


def mixed(device: torch.device | str, precision: Precision) -> AbstractContextManager[object]:
    """The context in which a network runs in a precision: `bf16-mixed` is bfloat16 autocast."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16-mixed")
