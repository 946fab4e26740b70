"""Diffusion of tokens: noise schedule, forward noising, and deterministic reverse steps.

Times are numbers in [0, T], not integers, and may differ between samples and modalities: the cosine
schedule (Nichol and Dhariwal, ICML 2021, arXiv 2102.09672, Eq. 17) is used in closed form, without discretization. A
token z is noised to a z + b e with a^2 + b^2 = 1 (Eq. 7 of the paper; a^2 is its alpha-bar), and a network predicts
v = a e - b z (Salimans and Ho, ICLR 2022, arXiv 2202.00512).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

T = 1000.0
OFFSET = 0.008
_ORIGIN = math.cos(OFFSET / (1 + OFFSET) * math.pi / 2)


def signal(time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the signal coefficient a at a time in [0, T]; 1 at time 0, 0 at time T."""
    return torch.cos((time / T + OFFSET) / (1 + OFFSET) * math.pi / 2) / _ORIGIN


def noise(time: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the noise coefficient b at a time in [0, T]; 0 at time 0, 1 at time T."""
    return torch.sqrt((1 - signal(time).square()).clamp(min=0.0))


def time_of_noise(variance: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the time in [0, T] at which the noise variance b^2 is `variance`, in 0..1; inverse of `noise`."""
    angle = torch.acos((torch.sqrt((1 - variance).clamp(0.0, 1.0)) * _ORIGIN).clamp(max=_ORIGIN))
    return T * (angle * (2 / math.pi) * (1 + OFFSET) - OFFSET).clamp(0.0, 1.0)


def noised(
    tokens: Float[Tensor, "*shape"], noise_drawn: Float[Tensor, "*shape"], time: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return tokens noised to a time, a z + b e (Eq. 7); `time` broadcasts against the tokens."""
    return signal(time) * tokens + noise(time) * noise_drawn


def velocity(
    tokens: Float[Tensor, "*shape"], noise_drawn: Float[Tensor, "*shape"], time: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return the prediction target v = a e - b z."""
    return signal(time) * noise_drawn - noise(time) * tokens


def clean_of(
    noisy: Float[Tensor, "*shape"], predicted: Float[Tensor, "*shape"], time: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return the clean tokens implied by noisy tokens x and a predicted v, a x - b v."""
    return signal(time) * noisy - noise(time) * predicted


def noise_of(
    noisy: Float[Tensor, "*shape"], predicted: Float[Tensor, "*shape"], time: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return the noise implied by noisy tokens x and a predicted v, b x + a v."""
    return noise(time) * noisy + signal(time) * predicted


def step_back(
    noisy: Float[Tensor, "*shape"],
    predicted: Float[Tensor, "*shape"],
    time: Float[Tensor, "*shape"],
    earlier: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """Take one deterministic step to an earlier time (DDIM with eta 0: Song et al., ICLR 2021, arXiv 2010.02502).

    The clean tokens and noise implied by the prediction are recombined at the earlier time; time 0 gives the clean
    tokens.
    """
    return noised(clean_of(noisy, predicted, time), noise_of(noisy, predicted, time), earlier)


def drawn_back(
    noisy: Float[Tensor, "*shape"],
    clean: Float[Tensor, "*shape"],
    noise_drawn: Float[Tensor, "*shape"],
    time: Float[Tensor, "*shape"],
    earlier: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """Draw what was noisy at an earlier time, given clean and noisy tokens (Ho et al., arXiv 2006.11239, Eq. 6).

    If the noisy tokens are the clean ones noised to `time`, what is drawn is them noised to `earlier`, with less of the
    same noise and some of `noise_drawn`; at time 0 it is the clean tokens.
    """
    kept, shrunk = signal(time) / signal(earlier), (noise(earlier) / noise(time)).square()
    added = noise(time).square() - (kept * noise(earlier)).square()  # variance of the noise between both times
    mean = kept * shrunk * noisy + signal(earlier) * added / noise(time).square() * clean
    return mean + torch.sqrt((added * shrunk).clamp(min=0.0)) * noise_drawn
