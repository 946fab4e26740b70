"""DiffuFuseMed, from the images of all modalities to logits.

Nandini et al., DiffuFuseMed: Diffusion-Guided Multimodal Transformer for Robust and Calibrated Medical Image
Segmentation, 2025 (ISSN 1311-1728, vol. 38 no. 1s); its equations are quoted by number. Latent diffusion after
Rombach et al. (arXiv 2112.10752). Docstrings state deviations from the paper.
"""

from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.collective import drawn, total
from diffufuse.models.diffufusemed.attention import CrossModalTransformer, TimeOn
from diffufuse.models.diffufusemed.denoiser import Denoiser, denoise
from diffufuse.models.diffufusemed.reliability import (
    ReliabilityEstimator,
    gates_of,
    moments_of,
    noise_features_of,
    roughness_of,
)
from diffufuse.models.diffufusemed.tokens import TokenNorm, inside_at
from diffufuse.models.diffufusemed.trace import LevelTrace, Trace
from diffufuse.models.layers.diffusion import clean_of, noise_of, noised, signal, time_of_noise, velocity
from diffufuse.models.pyramid import (
    Decoder,
    Encoder,
    Fusion,
    encode_all,
    encoder_inputs,
    full_strides,
    patch_multiple,
)

Diffusion = Literal["observed", "renoise", "off"]
Gates = Literal["reliability", "uniform"]
PROBE_TIME = 100.0
CLEAN_MEMORY = 0.99
# Denoising never starts where noise exceeds signal: a few steps from there give the mean of all images.
MOST_NOISE = 0.5


class DiffuFuseMed(nn.Module):
    """One encoder per modality, diffusion and cross-modal attention at the coarse levels, gated fusion, one decoder.

    With no `windows` (no coarse levels) and uniform gates it equals `MultiEncoderCNN`.
    """

    clean_energy: Tensor

    def __init__(
        self,
        *,
        modalities: int,
        outputs: int,
        widths: Sequence[int],
        windows: Sequence[int],
        latest: Sequence[float],
        strides: Sequence[Sequence[int]] | None = None,
        dims: int = 2,
        slices: int = 1,
        diffusion: Diffusion = "observed",
        steps: int = 1,
        denoiser_blocks: int = 2,
        attention_blocks: int = 1,
        head_width: int = 16,
        ffn: int = 2,
        dropout: float = 0.1,
        time_on: TimeOn = "queries and keys",
        gates: Gates = "reliability",
        temperature: float = 5.0,
    ) -> None:
        """Build the network.

        Args:
            modalities: number of input images M.
            outputs: number of output channels C.
            widths: channels per level, from fine to coarse.
            windows: attention window of each of the last levels, fine to coarse; their number is the number of levels
                with diffusion and attention. 0 for the whole grid, 1 for single positions.
            latest: maximal diffusion time T_l of these levels, smaller for coarse ones.
            strides: stride from each level to the next, per axis; 2 by default.
            dims: 2 for slices, 3 for volumes.
            slices: number of neighboring slices that enter a 2-D network as channels, odd.
            diffusion: `observed` treats the tokens as noisy at a time estimated by a probe, and adds no noise;
                `renoise` first adds noise up to that time, with a fixed seed; `off` disables diffusion.
            steps: number of deterministic steps from that time to 0.
            denoiser_blocks: number of blocks per denoiser.
            attention_blocks: number of DG-CMT blocks per level; 0 for none.
            head_width: dimension of an attention head.
            ffn: hidden dimension of the MLPs in units of the token dimension.
            dropout: dropout rate in the attention blocks.
            time_on: where the time embedding is added in the attention.
            gates: `reliability` for estimated gates; `uniform` for equal weights of the present modalities.
            temperature: lambda of Eq. 12; 0 gives uniform gates.
        """
        super().__init__()
        steps_between_levels = full_strides(strides, levels=len(widths), dims=dims)
        self.dims, self.stride = dims, patch_multiple(steps_between_levels, dims=dims)
        self.diffusion, self.steps, self.gates, self.temperature = diffusion, steps, gates, temperature
        self.noise_seed = 0  # seed of the noise that `renoise` adds
        self.fine, self.latest = len(widths) - len(windows), tuple(latest)
        shape: dict[str, Any] = {"widths": widths, "strides": steps_between_levels, "dims": dims}
        coarse = widths[self.fine :]
        self.encoders = nn.ModuleList(Encoder(2 * slices if dims == 2 else 2, **shape) for _ in range(modalities))
        self.norms = nn.ModuleList(TokenNorm(modalities, width) for width in coarse)
        self.denoisers = nn.ModuleList(
            Denoiser(modalities, width, blocks=denoiser_blocks, dims=dims) if diffusion != "off" else nn.Identity()
            for width in coarse
        )
        settings: dict[str, Any] = {"head_width": head_width, "ffn": ffn, "dropout": dropout, "time_on": time_on}
        self.transformers = nn.ModuleList(
            CrossModalTransformer(modalities, width, blocks=attention_blocks, window=window, **settings)
            for width, window in zip(coarse, windows, strict=True)
        )
        self.reliability = (
            ReliabilityEstimator(modalities, 2 * len(widths) + 2 * len(coarse) + 1) if gates == "reliability" else None
        )
        self.fusions = nn.ModuleList(Fusion(modalities, width, dims=dims) for width in widths)
        self.decoder = Decoder(outputs, **shape)
        # Energy that the probe predicts as noise in clean tokens; subtracted from the measured energy.
        self.register_buffer("clean_energy", torch.zeros(len(coarse), modalities))

    def forward(
        self, images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
    ) -> Float[Tensor, "batch channel x y slice"]:
        """Return the logits, of the middle slice in 2-D, of every slice in 3-D.

        Args:
            images: (B, M, X, Y, Z) normalized; X, Y and Z are multiples of `stride`.
            presence: (B, M, X, Y, Z); where it is False the image is ignored.
        """
        return self._forward(images, presence)[0]

    def trace(
        self,
        images: Float[Tensor, "batch modality x y z"],
        presence: Bool[Tensor, "batch modality x y z"],
        *,
        clean: Float[Tensor, "batch modality x y z"],
        generator: torch.Generator,
    ) -> tuple[Tensor, Trace]:
        """Return the logits of `forward`, and the intermediate values for the losses of Eqs. 24 to 26.

        Args:
            images: as in `forward`, partly corrupted.
            presence: as in `forward`.
            clean: the images without corruption.
            generator: CPU generator of the times and the noise of Eq. 7.
        """
        logits, trace = self._forward(images, presence)
        if self.diffusion == "off":
            return logits, trace
        touched = (images != clean).flatten(2).any(dim=2) & trace.present  # (B, M)
        targets = self._clean_tokens(encoder_inputs(clean, presence, dims=self.dims), touched, trace)
        for number, (level, target) in enumerate(zip(trace.levels, targets, strict=True)):
            self._update_clean_energy(number, level.energy, trace.present & ~touched)
            level.clean = target
            level.velocity, level.predicted = self._velocity_pair(number, target, trace.present, generator)
        return logits, trace

    def _forward(self, images: Tensor, presence: Tensor) -> tuple[Tensor, Trace]:
        present = presence.flatten(2).any(dim=2)  # (B, M)
        levels = encode_all(self.encoders, encoder_inputs(images, presence, dims=self.dims))
        inside = [inside_at(presence, features) for features in levels]
        traced = [
            self._level_trace(number, *pair, present)
            for number, pair in enumerate(zip(levels[self.fine :], inside[self.fine :], strict=True))
        ]
        rough = roughness_of(torch.where(presence, images, 0.0), presence)
        measured = [rough, *(moments_of(*pair) for pair in zip(levels, inside, strict=True))]
        logit, gates = self._gates(
            measured + [noise_features_of(trace.predicted_noise, trace.inside) for trace in traced], present
        )
        attended = [
            transformer(level.denoised, level.time, present, gates)
            for transformer, level in zip(self.transformers, traced, strict=True)
        ]
        maps, weights = [*levels[: self.fine], *attended], None if logit is None else gates
        logits = self.decoder(
            [fusion(level_map, present, weights) for fusion, level_map in zip(self.fusions, maps, strict=True)]
        )
        return logits[..., None] if self.dims == 2 else logits, Trace(present, gates, logit, traced)

    def _level_trace(self, number: int, features: Tensor, inside: Tensor, present: Tensor) -> LevelTrace:
        """Compute the tokens of one level: normalize, estimate the noise by a probe, denoise from that time."""
        tokens = self.norms[number](features, inside)
        if self.diffusion == "off":
            zeros = tokens.new_zeros(tokens.shape[:2])
            return LevelTrace(inside, tokens, torch.zeros_like(tokens), zeros, zeros, tokens)
        with torch.no_grad():
            predicted_noise, energy = self._probe_noise(number, tokens, inside, present)
            excess = (energy - self.clean_energy[number]).clamp(min=0.0)
            time = time_of_noise((excess / (1 + excess)).clamp(max=MOST_NOISE)).clamp(max=self.latest[number])
        return LevelTrace(
            inside, tokens, predicted_noise, energy, time, self._denoise_from(number, tokens, time, present)
        )

    def _probe_noise(self, number: int, tokens: Tensor, inside: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the noise predicted in tokens without added noise, and the energy (B, M) the denoiser would remove."""
        time = tokens.new_full(tokens.shape[:2], PROBE_TIME)
        time_on_grid = on_grid(time, tokens)
        scaled = signal(time_on_grid) * tokens
        predicted = self.denoisers[number](scaled, time, present)
        removed = (tokens - clean_of(scaled, predicted, time_on_grid)).square().mean(dim=2)
        energy = torch.where(inside, removed, 0.0).flatten(2).sum(dim=2) / inside.flatten(2).sum(dim=2).clamp(min=1)
        return noise_of(scaled, predicted, time_on_grid), energy

    def _denoise_from(self, number: int, tokens: Tensor, time: Tensor, present: Tensor) -> Tensor:
        time_on_grid = on_grid(time, tokens)
        noisy = signal(time_on_grid) * tokens
        if self.diffusion == "renoise":
            drawn = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(self.noise_seed + number)).to(
                tokens
            )
            noisy = noised(tokens, drawn, time_on_grid)
        return denoise(cast(Denoiser, self.denoisers[number]), noisy, time, present, steps=self.steps)

    def _gates(self, measured: list[Tensor], present: Tensor) -> tuple[Tensor | None, Tensor]:
        if self.reliability is None:
            return None, gates_of(torch.zeros(present.shape, device=present.device), present, temperature=1.0)
        logit = self.reliability(torch.cat(measured, dim=2).detach(), present)
        return logit, gates_of(torch.sigmoid(logit), present, temperature=self.temperature)

    def _velocity_pair(
        self, number: int, clean: Tensor, present: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return target and predicted velocity at random times, one per sample and modality."""
        time = (drawn(torch.rand, clean.shape[:2], generator) * self.latest[number]).to(clean)
        noise = drawn(torch.randn, clean.shape, generator).to(clean)
        time_on_grid = on_grid(time, clean)
        predicted = self.denoisers[number](noised(clean, noise, time_on_grid), time, present)
        return velocity(clean, noise, time_on_grid), predicted

    def _clean_tokens(self, inputs: Tensor, touched: Tensor, trace: Trace) -> list[Tensor]:
        """Return the tokens of the clean images at every level; only corrupted images are encoded again."""
        levels = [level.tokens.detach().clone() for level in trace.levels]
        with torch.no_grad():
            for m, encoder in enumerate(self.encoders):
                samples = touched[:, m].nonzero()[:, 0]
                if len(samples):
                    features = encoder(inputs[samples, m])[self.fine :]
                    for level, norm, level_features in zip(levels, self.norms, features, strict=True):
                        level[samples, m] = cast(TokenNorm, norm).scaled(level_features, m).to(level)
        return levels

    def _update_clean_energy(self, number: int, energy: Tensor, untouched: Tensor) -> None:
        count = total(untouched.sum(dim=0))
        mean = total(torch.where(untouched, energy, 0.0).sum(dim=0)) / count.clamp(min=1)
        decay = torch.where(count > 0, CLEAN_MEMORY, 1.0)
        self.clean_energy[number] = decay * self.clean_energy[number] + (1 - decay) * mean


def on_grid(values: Float[Tensor, "batch modality"], tokens: Tensor) -> Tensor:
    """Reshape one value per sample and modality to broadcast against tokens."""
    return values[(...,) + (None,) * (tokens.ndim - 2)]
