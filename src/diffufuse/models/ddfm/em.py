"""The likelihood of a fused image given its sources, and one step of expectation and maximization towards its maximum.

Zhao et al.: DDFM: Denoising Diffusion Model for Multi-Modality Image Fusion, ICCV 2023 (arXiv 2303.06840), Section 3.
With x the fused image less the first source and y the second source less the first, y - x and x are Laplacian: normal
with variances m and n that are exponential with means rho and gamma. Given x, the expectations of 1/m and 1/n are
sqrt(2 / rho) / |y - x| and sqrt(2 / gamma) / |x|; by them x minimizes

    sum of E[1/m] (y - x)^2 + E[1/n] x^2 + smoothness |gradient of u|^2 + coupling / 2 (u - x)^2,

where u, the smooth image, is held to x by half-quadratic splitting. Its own splitting k of the gradient is solved for here.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Differences below it, a quarter of a gray level of 255 on a scale of -1..1, are one; else some would weigh infinitely.
LEAST = 0.002


@dataclass(frozen=True)
class Scales:
    """Mean variances of the distances of the fused image: rho of the second source, gamma of the first."""

    rho: Float[Tensor, "batch 1 1 1"]
    gamma: Float[Tensor, "batch 1 1 1"]


def corrected(
    fused: Float[Tensor, "batch 1 x y"],
    sources: Float[Tensor, "batch 2 x y"],
    scales: Scales,
    *,
    smoothness: float,
    coupling: float,
) -> tuple[Float[Tensor, "batch 1 x y"], Scales]:
    """Return the fused image after one step of both, and the scales that it makes most likely.

    Args:
        fused: (B, 1, X, Y) in -1..1.
        sources: (B, 2, X, Y) likewise.
        scales: of the last step.
        smoothness: weight of the smooth image's gradient, lambda of the release.
        coupling: by which the fused image is held to the smooth one, rho of the release.
    """
    first, second = sources[:, :1], sources[:, 1:]
    x, y = fused - first, second - first
    of_second, of_first = _distance(y - x), _distance(x)
    m, n = torch.sqrt(2 / scales.rho) / of_second, torch.sqrt(2 / scales.gamma) / of_first
    u = _smooth(x, 2 * smoothness / (2 * smoothness + coupling))
    x = (2 * m * y + coupling * u) / (2 * m + 2 * n + coupling)
    return first + x, Scales(_mean_variance(of_second, scales.rho), _mean_variance(of_first, scales.gamma))


def _distance(difference: Tensor) -> Tensor:
    return torch.sqrt(difference.square() + LEAST**2)


def _mean_variance(distance: Tensor, before: Tensor) -> Tensor:
    return (torch.sqrt(before / 2) * distance + before / 2).mean(dim=(1, 2, 3), keepdim=True)


def _smooth(x: Float[Tensor, "batch 1 x y"], weight: float) -> Float[Tensor, "batch 1 x y"]:
    """The image u that minimizes (u - x)^2 + weight |gradient of u|^2, by the Fourier transform."""
    angles = (2 * torch.pi * torch.fft.fftfreq(side, device=x.device) for side in x.shape[2:])
    along_x, along_y = (2 - 2 * torch.cos(angle) for angle in angles)  # of forward differences
    spectrum = torch.fft.fft2(x) / (1 + weight * (along_x[:, None] + along_y))
    return torch.fft.ifft2(spectrum).real
