"""DiffuFuseMed, from the images of all modalities to logits.

Nandini et al., DiffuFuseMed: Diffusion-Guided Multimodal Transformer for Robust and Calibrated Medical Image
Segmentation, 2025 (ISSN 1311-1728, vol. 38 no. 1s); its equations are quoted by number. Latent diffusion after
Rombach et al. (arXiv 2112.10752). Where the paper is silent or cannot work as written, the docstrings say what is done.
"""

from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diffufuse.models.diffufusemed.attention import CrossModalTransformer, TimeOn
from diffufuse.models.diffufusemed.denoiser import Denoiser, denoise
from diffufuse.models.diffufusemed.diffusion import clean_of, noise_of, noised, signal, time_of_noise, velocity
from diffufuse.models.diffufusemed.reliability import (
    ReliabilityEstimator,
    gates_of,
    moments_of,
    noise_features_of,
    roughness_of,
)
from diffufuse.models.diffufusemed.tokens import TokenNorm, inside_at
from diffufuse.models.diffufusemed.trace import LevelTrace, Trace
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
# Diffusion never starts where noise outweighs signal: from there a few steps lead to the mean of all images.
MOST_NOISE = 0.5


class DiffuFuseMed(nn.Module):
    """One encoder per modality; at the coarse levels diffusion and cross-modal attention; gated fusion; one decoder.

    Without windows, so without coarse levels, and with uniform gates it is `MultiEncoderCNN`.
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
            widths: channels of each level, from fine to coarse.
            windows: window of the cross-modal attention at each of the last levels, fine to coarse; their number is
                that of the levels with diffusion and attention. 0 for the whole grid, 1 for each place by itself.
            latest: T_l of these levels: the latest time that their diffusion knows, smaller for coarse ones.
            strides: between a level and the next, per axis; 2 everywhere by default.
            dims: 2 for slice by slice, 3 for volumes.
            slices: neighboring slices that a 2-D network reads, odd.
            diffusion: `observed` takes the tokens for noisy ones at a time that a probe estimates, and adds no noise;
                `renoise` adds noise up to that time first, from a generator with a fixed seed; `off` has none.
            steps: deterministic steps from that time to 0.
            denoiser_blocks: blocks of each level's denoiser.
            attention_blocks: DG-CMT blocks of each level; 0 for none.
            head_width: of an attention head.
            ffn: width of the perceptrons in units of the tokens' width.
            dropout: in the attention blocks.
            time_on: what the time is added to in the attention.
            gates: `reliability` estimates them; `uniform` weighs the present modalities alike.
            temperature: lambda of Eq. 12; 0 makes the gates of a trained network uniform.
        """
        super().__init__()
        by = full_strides(strides, levels=len(widths), dims=dims)
        self.dims, self.stride = dims, patch_multiple(by, dims=dims)
        self.diffusion, self.steps, self.gates, self.temperature = diffusion, steps, gates, temperature
        self.noise_seed = 0  # of the noise that `renoise` adds; another one is another sample
        self.fine, self.latest = len(widths) - len(windows), tuple(latest)
        shape: dict[str, Any] = {"widths": widths, "strides": by, "dims": dims}
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
        # What the probe predicts as noise in clean tokens: the zero of the scale on which noise is read.
        self.register_buffer("clean_energy", torch.zeros(len(coarse), modalities))

    def forward(
        self, images: Float[Tensor, "batch modality x y z"], presence: Bool[Tensor, "batch modality x y z"]
    ) -> Float[Tensor, "batch channel x y slice"]:
        """Logits per channel, of the middle slice in 2-D and of every slice in 3-D.

        Args:
            images: (B, M, X, Y, Z) normalized; X, Y and Z are multiples of `stride`.
            presence: (B, M, X, Y, Z); where it is False the image's content has no influence.
        """
        return self._segment(images, presence)[0]

    def trace(
        self,
        images: Float[Tensor, "batch modality x y z"],
        presence: Bool[Tensor, "batch modality x y z"],
        *,
        clean: Float[Tensor, "batch modality x y z"],
        generator: torch.Generator,
    ) -> tuple[Tensor, Trace]:
        """Logits as `forward` gives them, and what the losses of Eqs. 24 to 26 compare.

        Args:
            images: as in `forward`, some of them corrupted.
            presence: as in `forward`.
            clean: the images without corruption.
            generator: draws the times and the noise of Eq. 7, on the CPU.
        """
        logits, trace = self._segment(images, presence)
        if self.diffusion == "off":
            return logits, trace
        touched = (images != clean).flatten(2).any(dim=2) & trace.there  # (B, M)
        targets = self._clean_tokens(encoder_inputs(clean, presence, dims=self.dims), touched, trace)
        for number, (level, target) in enumerate(zip(trace.levels, targets, strict=True)):
            self._remember_clean(number, level.energy, trace.there & ~touched)
            level.clean = target
            level.velocity, level.predicted = self._noised(number, target, trace.there, generator)
        return logits, trace

    def _segment(self, images: Tensor, presence: Tensor) -> tuple[Tensor, Trace]:
        there = presence.flatten(2).any(dim=2)  # (B, M)
        levels = encode_all(self.encoders, encoder_inputs(images, presence, dims=self.dims))
        inside = [inside_at(presence, features) for features in levels]
        traced = [
            self._traced(number, *pair, there)
            for number, pair in enumerate(zip(levels[self.fine :], inside[self.fine :], strict=True))
        ]
        rough = roughness_of(torch.where(presence, images, 0.0), presence)
        measured = [rough, *(moments_of(*pair) for pair in zip(levels, inside, strict=True))]
        logit, gates = self._gates(measured + [noise_features_of(each.found, each.inside) for each in traced], there)
        seen = [
            transformer(level.denoised, level.time, there, gates)
            for transformer, level in zip(self.transformers, traced, strict=True)
        ]
        maps, weights = [*levels[: self.fine], *seen], None if logit is None else gates
        logits = self.decoder([fusion(each, there, weights) for fusion, each in zip(self.fusions, maps, strict=True)])
        return logits[..., None] if self.dims == 2 else logits, Trace(there, gates, logit, traced)

    def _traced(self, number: int, features: Tensor, inside: Tensor, there: Tensor) -> LevelTrace:
        """One level up to its denoised tokens: normalize, probe for noise, denoise from where the probe says."""
        tokens = self.norms[number](features, inside)
        if self.diffusion == "off":
            nothing = tokens.new_zeros(tokens.shape[:2])
            return LevelTrace(inside, tokens, torch.zeros_like(tokens), nothing, nothing, tokens)
        with torch.no_grad():
            found, energy = self._probed(number, tokens, inside, there)
            excess = (energy - self.clean_energy[number]).clamp(min=0.0)
            time = time_of_noise((excess / (1 + excess)).clamp(max=MOST_NOISE)).clamp(max=self.latest[number])
        return LevelTrace(inside, tokens, found, energy, time, self._denoised(number, tokens, time, there))

    def _probed(self, number: int, tokens: Tensor, inside: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """The noise that is predicted where none was added, and the energy (B, M) of what the denoiser would remove."""
        time = tokens.new_full(tokens.shape[:2], PROBE_TIME)
        at = on_grid(time, tokens)
        scaled = signal(at) * tokens
        predicted = self.denoisers[number](scaled, time, there)
        removed = (tokens - clean_of(scaled, predicted, at)).square().mean(dim=2)
        energy = torch.where(inside, removed, 0.0).flatten(2).sum(dim=2) / inside.flatten(2).sum(dim=2).clamp(min=1)
        return noise_of(scaled, predicted, at), energy

    def _denoised(self, number: int, tokens: Tensor, time: Tensor, there: Tensor) -> Tensor:
        at = on_grid(time, tokens)
        noisy = signal(at) * tokens
        if self.diffusion == "renoise":
            drawn = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(self.noise_seed + number)).to(
                tokens
            )
            noisy = noised(tokens, drawn, at)
        return denoise(cast(Denoiser, self.denoisers[number]), noisy, time, there, steps=self.steps)

    def _gates(self, measured: list[Tensor], there: Tensor) -> tuple[Tensor | None, Tensor]:
        if self.reliability is None:
            return None, gates_of(torch.zeros(there.shape, device=there.device), there, temperature=1.0)
        logit = self.reliability(torch.cat(measured, dim=2).detach(), there)
        return logit, gates_of(torch.sigmoid(logit), there, temperature=self.temperature)

    def _noised(self, number: int, clean: Tensor, there: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Velocity that was to be predicted at random times, one per sample and modality, and the one predicted."""
        time = (torch.rand(clean.shape[:2], generator=generator) * self.latest[number]).to(clean)
        drawn = torch.randn(clean.shape, generator=generator).to(clean)
        at = on_grid(time, clean)
        predicted = self.denoisers[number](noised(clean, drawn, at), time, there)
        return velocity(clean, drawn, at), predicted

    def _clean_tokens(self, inputs: Tensor, touched: Tensor, trace: Trace) -> list[Tensor]:
        """Tokens of the images without corruption, at every level; encoded anew only where one was corrupted."""
        levels = [level.tokens.detach().clone() for level in trace.levels]
        with torch.no_grad():
            for m, encoder in enumerate(self.encoders):
                samples = touched[:, m].nonzero()[:, 0]
                if len(samples):
                    features = encoder(inputs[samples, m])[self.fine :]
                    for level, norm, each in zip(levels, self.norms, features, strict=True):
                        level[samples, m] = cast(TokenNorm, norm).scaled(each, m).to(level)
        return levels

    def _remember_clean(self, number: int, energy: Tensor, untouched: Tensor) -> None:
        count = untouched.sum(dim=0)
        mean = torch.where(untouched, energy, 0.0).sum(dim=0) / count.clamp(min=1)
        kept = torch.where(count > 0, CLEAN_MEMORY, 1.0)
        self.clean_energy[number] = kept * self.clean_energy[number] + (1 - kept) * mean


def on_grid(values: Float[Tensor, "batch modality"], tokens: Tensor) -> Tensor:
    """One value per sample and modality, shaped to broadcast against tokens."""
    return values[(...,) + (None,) * (tokens.ndim - 2)]
