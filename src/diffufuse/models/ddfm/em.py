"""The likelihood of a fused image given its sources, and one step of expectation and maximization towards its maximum.

Zhao et al.: DDFM: Denoising Diffusion Model for Multi-Modality Image Fusion, ICCV 2023 (arXiv 2303.06840), Section 3.
With x the fused image less the first source and y the second source less the first, y - x and x are Laplacian: normal
with variances m and n that are exponential, of means rho and gamma. Given x, the expectations of 1/m and 1/n are
sqrt(2 / rho) / |y - x| and sqrt(2 / gamma) / |x|; by them a new x minimizes the sum of

    E[1/m] (y - x)^2 + E[1/n] x^2 + smoothness |k|^2 + splitting / 2 (|u - x|^2 + |k - gradient of u|^2)

where u, a smooth x, and k, a small gradient of it, are what half-quadratic splitting makes of a penalty of the gradient
of x.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Both published weights are of differences in levels of 8 bits, of which there are so many in one of our units.
LEVELS = 127.5
# Differences below it, a quarter of a level, are one; else some would weigh infinitely.
LEAST = 0.25 / LEVELS


@dataclass(frozen=True)
class Penalty:
    """Weights of the smoothness of the difference between the fused image and the first source.

    Attributes:
        smoothness: of its gradient, lambda of the release.
        splitting: of its distance from the smooth image, rho of the release.
    """

    smoothness: float
    splitting: float


@dataclass(frozen=True)
class Scales:
    """Mean variances of the distances of the fused image: rho of that from the second source, gamma from the first."""

    rho: Float[Tensor, "batch 1 1 1"]
    gamma: Float[Tensor, "batch 1 1 1"]


def corrected(
    fused: Float[Tensor, "batch 1 x y"], sources: Float[Tensor, "batch 2 x y"], scales: Scales, penalty: Penalty
) -> tuple[Float[Tensor, "batch 1 x y"], Scales]:
    """Return the fused image after one step of expectation and maximization, and the scales after it.

    Args:
        fused: (B, 1, X, Y) in -1..1.
        sources: (B, 2, X, Y) likewise.
        scales: before.
        penalty: of what is not smooth.
    """
    first, second = sources[:, :1], sources[:, 1:]
    x, y, splitting = fused - first, second - first, penalty.splitting * LEVELS**2
    of_second, of_first = _distance(y - x), _distance(x)
    m, n = torch.sqrt(2 / scales.rho) / of_second, torch.sqrt(2 / scales.gamma) / of_first
    u = smoothed(x, 2 * penalty.smoothness / (2 * penalty.smoothness + penalty.splitting))
    x = (2 * m * y + splitting * u) / (2 * m + 2 * n + splitting)
    return first + x, Scales(_mean_variance(of_second, scales.rho), _mean_variance(of_first, scales.gamma))


def smoothed(x: Float[Tensor, "batch 1 x y"], weight: float) -> Float[Tensor, "batch 1 x y"]:
    """Return the image u that minimizes (u - x)^2 + weight |gradient of u|^2; opposite borders are neighbors.

    The best k of any u is c times its gradient, c = splitting / (2 smoothness + splitting). Of both terms of k are then
    left splitting / 2 (1 - c) |gradient of u|^2, so `weight` is 1 - c.
    """
    angles = (2 * torch.pi * torch.fft.fftfreq(side, device=x.device) for side in x.shape[2:])
    along_x, along_y = (2 - 2 * torch.cos(angle) for angle in angles)
    spectrum = torch.fft.fft2(x) / (1 + weight * (along_x[:, None] + along_y))
    return torch.fft.ifft2(spectrum).real


def _distance(difference: Tensor) -> Tensor:
    return torch.sqrt(difference.square() + LEAST**2)


def _mean_variance(distance: Tensor, before: Tensor) -> Tensor:
    """The mean of E[m] given the distances, for a mean variance before."""
    return (torch.sqrt(before / 2) * distance + before / 2).mean(dim=(1, 2, 3), keepdim=True)
