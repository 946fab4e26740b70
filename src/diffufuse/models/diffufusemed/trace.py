"""What a pass through DiffuFuseMed leaves behind for the losses and for a look at its health."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass
class LevelTrace:
    """One level with diffusion.

    Attributes:
        inside: where each modality was acquired.
        tokens: of the encoder, normalized, as the network met them.
        found: noise that the probe predicts in them.
        energy: mean square of what the probe would remove, per sample and modality.
        time: at which the diffusion started, per sample and modality.
        denoised: tokens after the diffusion.
        clean: tokens of the images without corruption, no gradient.
        velocity: v of clean tokens that were noised at random times (Eq. 24).
        predicted: the denoiser's prediction of it.
    """

    inside: Bool[Tensor, "batch modality *grid"]
    tokens: Float[Tensor, "batch modality width *grid"]
    found: Float[Tensor, "batch modality width *grid"]
    energy: Float[Tensor, "batch modality"]
    time: Float[Tensor, "batch modality"]
    denoised: Float[Tensor, "batch modality width *grid"]
    clean: Float[Tensor, "batch modality width *grid"] | None = None
    velocity: Float[Tensor, "batch modality width *grid"] | None = None
    predicted: Float[Tensor, "batch modality width *grid"] | None = None


@dataclass
class Trace:
    """One pass.

    Attributes:
        there: which modalities were present.
        gates: w_m, 0 for the absent.
        reliability_logit: of rho_m; None where gates are uniform.
        levels: those with diffusion, from fine to coarse.
    """

    there: Bool[Tensor, "batch modality"]
    gates: Float[Tensor, "batch modality"]
    reliability_logit: Float[Tensor, "batch modality"] | None
    levels: list[LevelTrace]
