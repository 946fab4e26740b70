"""Selective scan of a state-space model in plain PyTorch: by recursive doubling, chunk by chunk.

Gu and Dao: Mamba: Linear-Time Sequence Modeling with Selective State Spaces, 2023 (arXiv 2312.00752). The recurrence is
combined pairwise, as in Blelloch: Prefix Sums and Their Applications, 1990: without divisions and without products of
more than the factors between two moments, so that nothing overflows where factors are at most 1.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

# Numbers of a chunk's states: what stays in the cache of a processor core, and what keeps a GPU busy.
CPU_CHUNK, OTHER_CHUNK = 2**18, 2**24
SHORTEST = 16  # moments; the state before each chunk is kept for the gradient


def selective_scan(
    values: Float[Tensor, "time batch scan channel"],
    steps: Float[Tensor, "time batch scan channel"],
    rates: Float[Tensor, "scan channel state"],
    write: Float[Tensor, "time batch scan state"],
    read: Float[Tensor, "time batch scan state"],
) -> Float[Tensor, "time batch scan channel"]:
    """Return y_t = C_t h_t with h_t = exp(Δ_t A) h_(t-1) + Δ_t B_t u_t, from a state of 0.

    States are kept for one chunk at a time and computed again for the gradient, so that memory does not grow by the
    number of states. Computed in single precision at least.

    Args:
        values: u, with time first; `scan` numbers scans that have parameters of their own.
        steps: Δ, at least 0.
        rates: A, at most 0, which keeps every factor in 0..1.
        write: B, how a value enters the states of its channel.
        read: C, how the states are read.
    """
    widest = torch.promote_types(values.dtype, torch.float32)
    parts = (part.to(widest) for part in (values, steps, rates, write, read))
    return cast(Tensor, _Scan.apply(*parts))


def recurrence(
    factors: Float[Tensor, "time *state"], terms: Float[Tensor, "time *state"]
) -> Float[Tensor, "time *state"]:
    """Return h_t = a_t h_(t-1) + b_t from h = 0 before the first moment, in log2(time) steps.

    Every second state is that of a recurrence of half the length, whose factors and terms are those of two moments;
    those between follow from it. That is twice the work of a loop, in few large operations.

    Args:
        factors: a; overwritten, but for the first.
        terms: b; overwritten by the result.
    """
    last = len(terms) - 1
    if last:
        even, odd, after = slice(0, last, 2), slice(1, None, 2), slice(2, None, 2)
        terms[odd].addcmul_(factors[odd], terms[even])
        factors[odd].mul_(factors[even])
        recurrence(factors[odd], terms[odd])
        terms[after].addcmul_(factors[after], terms[1:last:2])
    return terms


class _Scan(torch.autograd.Function):
    """The scan and its gradient, which is a scan backward in time."""

    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        values, _, rates, _, read = parts
        state = rates.new_zeros(*values.shape[1:], rates.shape[-1])
        before, read_out = [], []
        for chunk in _chunks(values, rates):
            before.append(state)
            states = _states(state, *_terms(chunk, parts))
            state = states[-1].clone()
            read_out.append(states.mul_(read[chunk].unsqueeze(-2)).sum(dim=-1))
        ctx.save_for_backward(*parts, *before)
        return torch.cat(read_out)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, ...]:
        parts, before = ctx.saved_tensors[:5], ctx.saved_tensors[5:]
        values, steps, rates, write, read = parts
        gradients = [torch.zeros_like(part) for part in parts]
        of_values, of_steps, of_rates, of_write, of_read = gradients
        later = torch.zeros_like(before[0])  # the gradient of a chunk's last states through those after them
        for chunk, state in reversed(list(zip(_chunks(values, rates), before, strict=True))):
            factors, terms = _terms(chunk, parts)
            states = _states(state, factors.clone(), terms)
            of_read[chunk] = (given[chunk].unsqueeze(-1) * states).sum(dim=-2)
            of_states = _backward_in_time(factors, given[chunk].unsqueeze(-1) * read[chunk].unsqueeze(-2), later)
            later = factors[0] * of_states[0]
            of_write[chunk] = (of_states * (steps[chunk] * values[chunk]).unsqueeze(-1)).sum(dim=-2)
            of_products = (of_states * write[chunk].unsqueeze(-2)).sum(dim=-1)
            of_exponents = of_states.mul_(factors)
            of_exponents[0].mul_(state)
            of_exponents[1:].mul_(states[:-1])
            of_values[chunk] = steps[chunk] * of_products
            of_steps[chunk] = values[chunk] * of_products + (of_exponents * rates).sum(dim=-1)
            of_rates += (of_exponents * steps[chunk].unsqueeze(-1)).sum(dim=(0, 1))
        return tuple(gradients)


def _chunks(values: Tensor, rates: Tensor) -> Iterator[slice]:
    """Spans of time that have few enough states."""
    most = CPU_CHUNK if values.device.type == "cpu" else OTHER_CHUNK
    length = max(SHORTEST, most // max(1, values[0].numel() * rates.shape[-1]))
    return (slice(start, start + length) for start in range(0, len(values), length))


def _terms(chunk: slice, parts: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Factors and terms (time, batch, scan, channel, state) of a chunk's recurrence."""
    values, steps, rates, write, _ = parts
    factors = torch.exp_(steps[chunk].unsqueeze(-1) * rates)
    return factors, (steps[chunk] * values[chunk]).unsqueeze(-1) * write[chunk].unsqueeze(-2)


def _states(before: Tensor, factors: Tensor, terms: Tensor) -> Tensor:
    """The states of a chunk after the state before it; arguments are overwritten as by `recurrence`."""
    terms[0].addcmul_(factors[0], before)
    return recurrence(factors, terms)


def _backward_in_time(factors: Tensor, given: Tensor, later: Tensor) -> Tensor:
    """g_t = given_t + a_(t+1) g_(t+1), with `later` for the last product."""
    given[-1] += later
    following = torch.cat([torch.zeros_like(factors[:1]), factors[1:].flip(0)])
    return recurrence(following, given.flip(0)).flip(0)
