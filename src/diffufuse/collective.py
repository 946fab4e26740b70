"""What the processes of a training exchange, so that each of them knows the loss of the whole batch.

Every process draws and augments the whole batch, from the same seed, and takes its share of the samples. A loss that
is a ratio of sums over the batch, such as Dice, is not the mean of the losses of the shares; so losses, and statistics
that layers keep, sum over all processes before they divide. A loss is then the same number in all of them, and the mean
of their gradients is its gradient. In one process every function here returns its argument.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def processes() -> int:
    """The number of processes of the training that this one belongs to."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def share(part: Tensor) -> Tensor:
    """The rows of this process in a tensor of all samples of a batch; equally many for all."""
    if processes() == 1:
        return part
    return part.chunk(processes())[dist.get_rank()].contiguous()


def drawn(draw: Callable[..., Tensor], shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random numbers for the samples of this process, as one process would draw them for the whole batch.

    Args:
        draw: such as `torch.randn`.
        shape: (samples of this process, ...).
        generator: in the same state in all processes.
    """
    return share(draw((processes() * shape[0], *shape[1:]), generator=generator))


def total(part: Tensor) -> Tensor:
    """The sum of a tensor over all processes, with gradient."""
    summed: Tensor = part if processes() == 1 else _Total.apply(part)
    return summed


def mean(part: Tensor) -> Tensor:
    """The mean of a tensor over all processes, with gradient."""
    return part if processes() == 1 else total(part) / processes()


def whole(part: Tensor) -> Tensor:
    """The rows of all processes, without gradient; the inverse of `share`."""
    if processes() == 1:
        return part
    parts = [torch.empty_like(part) for _ in range(processes())]
    dist.all_gather(parts, part.detach().contiguous())
    return torch.cat(parts)


def mean_gradients(weights: Iterable[nn.Parameter]) -> None:
    """Give weights the mean of their gradients in all processes; none where no process has one."""
    moved = [weight for weight in weights if weight.requires_grad]
    if processes() == 1 or not moved:
        return
    gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in moved]
    known = torch.stack([moved[0].new_tensor(weight.grad is not None, dtype=torch.float32) for weight in moved])
    flat = torch.cat([*(gradient.float().flatten() for gradient in gradients), known])
    dist.all_reduce(flat)
    *means, known = flat.split([*(weight.numel() for weight in moved), len(moved)])
    for weight, summed, count in zip(moved, means, known.tolist(), strict=True):
        weight.grad = (summed / processes()).view_as(weight).to(weight.dtype) if count else None


class _Total(torch.autograd.Function):
    """A sum over all processes. Each of them backpropagates the same loss, so the gradients are summed, too."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        summed = part.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed
