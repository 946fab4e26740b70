"""Intermediate values of a DiffuFuseMed forward pass, for losses and diagnostics."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass
class LevelTrace:
    """Intermediate values of a level with diffusion.

    Attributes:
        inside: where each modality was acquired.
        tokens: normalized encoder features.
        predicted_noise: noise predicted by the probe.
        energy: mean square of the change by the probe, per sample and modality.
        time: start time of the denoising, per sample and modality.
        denoised: tokens after denoising.
        clean: tokens of the images without corruption, without gradient.
        velocity: v of clean tokens that were noised at random times (Eq. 24).
        predicted: the denoiser's prediction of `velocity`.
    """

    inside: Bool[Tensor, "batch modality *grid"]
    tokens: Float[Tensor, "batch modality width *grid"]
    predicted_noise: Float[Tensor, "batch modality width *grid"]
    energy: Float[Tensor, "batch modality"]
    time: Float[Tensor, "batch modality"]
    denoised: Float[Tensor, "batch modality width *grid"]
    clean: Float[Tensor, "batch modality width *grid"] | None = None
    velocity: Float[Tensor, "batch modality width *grid"] | None = None
    predicted: Float[Tensor, "batch modality width *grid"] | None = None


@dataclass
class Trace:
    """Intermediate values of a forward pass.

    Attributes:
        present: which modalities were present.
        gates: w_m, 0 for absent modalities.
        reliability_logit: logit of rho_m; None for uniform gates.
        levels: levels with diffusion, from fine to coarse.
    """

    present: Bool[Tensor, "batch modality"]
    gates: Float[Tensor, "batch modality"]
    reliability_logit: Float[Tensor, "batch modality"] | None
    levels: list[LevelTrace]
