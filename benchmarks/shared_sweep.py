"""One patient under many conditions, sharing all that a condition leaves as it is.

A condition seldom touches every modality. So each modality is normalized once as acquired, and again only where a
condition changes it; where a model has one encoder per modality, its features are kept and used again for every window
that looks the same; and of a modality that is wholly absent nothing is calculated, for nothing of it has influence.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn

from diffufuse.conditions.apply import apply_condition
from diffufuse.models.diffufusemed.attention import CrossModalTransformer
from diffufuse.models.diffufusemed.denoiser import Denoiser
from diffufuse.models.diffufusemed.reliability import ReliabilityEstimator
from diffufuse.models.diffufusemed.tokens import TokenNorm
from diffufuse.models.pyramid import Fusion
from diffufuse.plan.plans import plan_modalities, plan_outputs
from diffufuse.predict.inference import body_logits, normalized
from diffufuse.store.scan import Scan
from diffufuse.types import Spacing

Condition = tuple[str, Mapping[str, Any]]
Probabilities = dict[str, Float32[np.ndarray, "x y z"]]


def sweep(
    network: nn.Module,
    scan: Scan,
    plan: Mapping[str, Any],
    conditions: Iterable[Condition],
    *,
    spacing_mm: Spacing,
    study_seed: int,
    names: tuple[str, ...],
    memory_mb: float = 2000.0,
) -> Iterator[tuple[str, Probabilities]]:
    """Predictions of `predict_case` for a scan under each condition.

    To the bit where every modality is there, and always for a network without one encoder per modality. Where one is
    absent from the whole scan, sums are over fewer terms, those left out being zero, and are rounded otherwise:
    probabilities differ by a few 1e-6 at most then.

    Args:
        network: as for `predict_case`; a copy of it is used, so that it may change meanwhile.
        scan: the case as acquired, in physical units.
        plan: the network's.
        conditions: names and blocks of `config/conditions.yaml`. A name may come again with another block: randomness
            belongs to the name, so the same noise is shown with other modalities withheld, and is encoded once if such
            conditions follow each other.
        spacing_mm: voxel size of the scan.
        study_seed: the study's one seed.
        names: dataset and case, to which the randomness belongs beside the condition's name.
        memory_mb: for features that are kept, in 10^6 bytes; what does not fit is calculated again.

    Yields:
        Name and probability of every region, in the order of the conditions.

    Raises:
        BadInput: a condition's corruption applies to no modality.
    """
    modalities, outputs = plan_modalities(plan), plan_outputs(plan)
    shared = Shared(network, memory_mb=memory_mb)
    acquired = normalized(scan, modalities=modalities)
    device = next(network.parameters()).device
    x, y, z = plan["block"]["training"]["patch"]
    for name, condition in conditions:
        condition_settings: dict[str, Any] = {
            "modalities": modalities,
            "spacing_mm": spacing_mm,
            "study_seed": study_seed,
        }
        condition_settings["names"] = (*names, name)
        condition_scan = _normalized_anew(
            apply_condition(scan, condition, **condition_settings), scan, acquired, modalities
        )
        model_scan = apply_condition(condition_scan, condition, **condition_settings, after="normalization")
        available = np.array([present.any() for present in model_scan.presence])
        kept = shared.kept(available)
        reduced_network = shared.network(kept, touched=_touched(model_scan, acquired) & available, name=name)
        kept_scan = Scan(model_scan.images[kept], model_scan.presence[kept], model_scan.body)
        logits, covered = body_logits(
            reduced_network, kept_scan, patch=(x, y, z), channels=outputs.channels, device=device
        )
        probabilities = outputs.region_probabilities(logits[None])[0].cpu().numpy()
        probabilities = np.where(covered.cpu().numpy(), probabilities, np.float32(0))
        yield name, dict(zip(outputs.regions, probabilities, strict=True))


class Shared:
    """Copies of a network, each for some of its modalities; their encoders, which are the same, remember."""

    def __init__(self, network: nn.Module, *, memory_mb: float) -> None:
        """Copy the network; `memory_mb` is for all encoders together."""
        self.whole: Any = deepcopy(network)
        self.reduced: dict[tuple[int, ...], nn.Module] = {}
        self.encoders: list[Remembering] = []
        self.name = ""
        encoders = getattr(self.whole, "encoders", None)
        if isinstance(encoders, nn.ModuleList):
            each_bytes = int(memory_mb * 1e6 / len(encoders))
            self.encoders = [Remembering(encoder, limit_bytes=each_bytes) for encoder in encoders]
            self.whole.encoders = nn.ModuleList(self.encoders)

    def kept(self, available: Bool[np.ndarray, "modality"]) -> list[int]:
        """The modalities that the network has to see, in their order: those that are there, or all.

        All where none is there, where the network mixes images before it encodes them, and where the noise that it
        draws depends on their number.
        """
        use_all = not self.encoders or getattr(self.whole, "diffusion", None) == "renoise"
        return list(range(len(available))) if use_all or not available.any() else np.flatnonzero(available).tolist()

    def network(self, kept: Sequence[int], *, touched: Bool[np.ndarray, "modality"], name: str) -> nn.Module:
        """The copy that sees these modalities; features of touched ones are forgotten when the name changes."""
        for encoder, changed in zip(self.encoders, touched, strict=False):
            encoder.expect(lasting=not changed, anew=name != self.name)
        self.name = name
        if not self.encoders or len(kept) == len(self.encoders):
            return self.whole
        if tuple(kept) not in self.reduced:
            self.reduced[tuple(kept)] = reduced(self.whole, kept)
        return self.reduced[tuple(kept)]


class Remembering(nn.Module):
    """An encoder that gives the same features for the same windows without calculating them again."""

    def __init__(self, encoder: nn.Module, *, limit_bytes: int) -> None:
        """Wrap an encoder; features beyond the limit are not kept."""
        super().__init__()
        self.encoder, self.limit_bytes, self.lasting = encoder, limit_bytes, True
        self.caches: dict[bool, dict[bytes, list[Tensor]]] = {True: {}, False: {}}

    def expect(self, *, lasting: bool, anew: bool) -> None:
        """Tell whether what comes next will come again for long; `anew` forgets what was not to last."""
        self.lasting = lasting
        if anew:
            self.caches[False].clear()

    def forward(self, windows: Float[Tensor, "batch channel *grid"]) -> list[Tensor]:
        """Features of every level."""
        key = hashlib.sha256(windows.cpu().numpy().tobytes()).digest() + str(tuple(windows.shape)).encode()
        cache = self.caches[self.lasting]
        if key in cache:
            return cache[key]
        features = self.encoder(windows)
        if self.kept_bytes() + _bytes_of(features) <= self.limit_bytes:
            cache[key] = features
        return features

    def kept_bytes(self) -> int:
        """Size of all features that are kept."""
        return sum(_bytes_of(features) for cache in self.caches.values() for features in cache.values())


class _Completed(nn.Module):
    """A fusion of all modalities that is given some of them; the others are absent."""

    def __init__(self, fusion: Fusion, kept: Sequence[int]) -> None:
        super().__init__()
        self.fusion, self.kept = fusion, list(kept)

    def forward(self, features: Tensor, presence: Tensor, gates: Tensor | None = None) -> Tensor:
        return self.fusion(*(None if part is None else self._all(part) for part in (features, presence, gates)))

    def _all(self, part: Tensor) -> Tensor:
        whole = part.new_zeros((part.shape[0], self.fusion.absent.shape[0], *part.shape[2:]))
        whole[:, self.kept] = part
        return whole


def reduced(network: Any, kept: Sequence[int]) -> nn.Module:
    """A network that says the same as the given one when all but these modalities are absent, and sees these alone.

    Args:
        network: DiffuFuseMed or MultiEncoderCNN, in evaluation mode; its encoders are shared.
        kept: places of the modalities that may be present.
    """
    encoders = [network.encoders[m] for m in kept]
    twin = deepcopy(network, {id(encoder): encoder for encoder in network.encoders})
    for module in list(twin.modules()):
        if isinstance(module, TokenNorm):
            module.mean, module.variance, module.seen = module.mean[kept], module.variance[kept], module.seen[kept]
        elif isinstance(module, Denoiser | CrossModalTransformer | ReliabilityEstimator):
            module.modality = nn.Parameter(module.modality.detach()[kept])
    if "clean_energy" in dict(twin.named_buffers()):
        twin.clean_energy = twin.clean_energy[:, kept]
    twin.encoders = nn.ModuleList(encoders)
    twin.fusions = nn.ModuleList(_Completed(fusion, kept) for fusion in twin.fusions)
    return twin


def _touched(scan: Scan, acquired: Scan) -> Bool[np.ndarray, "modality"]:
    """Which modalities differ in any voxel, or in where they were acquired."""
    return np.array(
        [
            not (np.array_equal(image, before) and np.array_equal(present, was))
            for image, before, present, was in zip(
                scan.images, acquired.images, scan.presence, acquired.presence, strict=True
            )
        ]
    )


def _normalized_anew(given: Scan, scan: Scan, acquired: Scan, modalities: Mapping[str, Mapping[str, Any]]) -> Scan:
    """The scan under a condition, normalized; modalities that are as acquired are taken from there."""
    images, anew = acquired.images.copy(), np.flatnonzero(_touched(given, scan))
    names = list(modalities)
    if len(anew):
        part = Scan(given.images[anew], given.presence[anew], given.body)
        images[anew] = normalized(part, modalities={names[m]: modalities[names[m]] for m in anew}).images
    return Scan(images, given.presence, given.body)


def _bytes_of(features: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in features)
