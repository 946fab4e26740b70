"""The average of a network's weights over the last steps, which predicts better than the weights of any one step."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(network: nn.Module, *, decay: float) -> AveragedModel:
    """A copy of a network whose weights follow it as an exponential moving average.

    After update t, counted from 0: average <- d average + (1 - d) weights with d = min(decay, (1 + t) / (10 + t)), so
    that the random weights of the beginning are soon forgotten; the first update copies. Buffers are copied each time.

    Args:
        network: what is averaged; `average.update_parameters(network)` follows it, `average.module` is the copy.
        decay: 0..1, exclusive of 1; 0 keeps no average: the copy equals the network, bit by bit.

    Source: Tarvainen and Valpola, Mean teachers, NeurIPS 2017 (arXiv 1703.01780); the ramp is that of TensorFlow's
    `ExponentialMovingAverage` with `num_updates`.
    """

    def follow(average: list[Tensor], weights: list[Tensor], updates: Tensor | int) -> None:
        torch._foreach_lerp_(average, weights, 1 - ramped(decay, int(updates)))

    return AveragedModel(network, multi_avg_fn=follow)  # type: ignore[arg-type]


def ramped(decay: float, updates: int) -> float:
    """The decay after a number of updates: it grows from one tenth to its final value."""
    return min(decay, (1 + updates) / (10 + updates))
