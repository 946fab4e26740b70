"""Exponential moving average of a network's weights."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(network: nn.Module, *, decay: float) -> AveragedModel:
    """A copy of a network whose weights are the exponential moving average of its weights.

    After update t, counted from 0: average <- d average + (1 - d) weights with d = min(decay, (1 + t) / (10 + t)), so
    the initial weights decay fast; the first update copies. Buffers are copied at each update.

    Args:
        network: the network to average; call `average.update_parameters(network)`; `average.module` is the copy.
        decay: 0..1, exclusive of 1; 0 for no averaging: the copy equals the network bit by bit.

    Source: Tarvainen and Valpola, Mean teachers, NeurIPS 2017 (arXiv 1703.01780); the ramp is that of TensorFlow's
    `ExponentialMovingAverage` with `num_updates`.
    """

    def follow(average: list[Tensor], weights: list[Tensor], updates: Tensor | int) -> None:
        torch._foreach_lerp_(average, weights, 1 - ramped(decay, int(updates)))

    return AveragedModel(network, multi_avg_fn=follow)  # type: ignore[arg-type]


def ramped(decay: float, updates: int) -> float:
    """The decay after a number of updates: a ramp from one tenth to its final value."""
    return min(decay, (1 + updates) / (10 + updates))
