"""Training batches: patches sampled from slice stores, with random corruptions and modality dropout."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffufuse.conditions.apply import corrupts
from diffufuse.conditions.corruptions import CORRUPTIONS
from diffufuse.errors import BadInput
from diffufuse.models import is_slicewise, needs_clean_images
from diffufuse.plan.outputs import Outputs
from diffufuse.plan.plans import plan_modalities, plan_outputs, plan_regions
from diffufuse.store.case import PreparedCase
from diffufuse.store.normalization import normalize_all
from diffufuse.types import Spacing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """A batch of training patches.

    Attributes:
        images: normalized, some corrupted; 0 where absent.
        clean: the same before corruption.
        presence: voxels where the network receives each modality.
        reference: 0 or 1 per output channel; of the middle slice for a slice-wise network.
        quality: 1 for a modality as acquired, 0 if corrupted or absent: q of Eq. 26.
        spacing_mm: distance between neighboring voxels along x, y and z.
    """

    images: Float[Tensor, "batch modality x y z"]
    clean: Float[Tensor, "batch modality x y z"]
    presence: Bool[Tensor, "batch modality x y z"]
    reference: Float[Tensor, "batch channel x y slice"]
    quality: Float[Tensor, "batch modality"]
    spacing_mm: Float[Tensor, "batch 3"]

    def to(self, move: Callable[[Tensor], Tensor]) -> "Batch":
        """The batch with every tensor moved, e.g. by `fabric.to_device`."""
        return Batch(*(move(getattr(self, part.name)) for part in fields(self)))


@dataclass(frozen=True)
class PatchSampler:
    """Samples batches of patches, a share of them around a region, with equal frequency of the regions.

    Without regions, for a network whose output is an image, all patches are drawn around a voxel of the body.

    Attributes:
        cases: name to prepared case.
        index: rows of `PATCHES` of these cases.
        modalities: name to its block of `config/datasets.yaml`; the order is the channels' order.
        outputs: the meaning of the network's channels.
        patch: size (X, Y, Z) of a patch in voxels.
        slicewise: whether the reference is the middle slice alone.
        foreground_share: share of a batch from slices with a region, 0..1.
        modality_dropout: share of patches that keep only a random non-empty subset of their modalities, uniform over
            subsets; the others keep all (method of mmFormer and RFNet, mixed with full sets).
        corruption_share: share of the images that are corrupted independently, 0..1.
        corrupted_together: share of the patches in which all modalities get the same corruption instead, 0..1.
        corruptions: blocks of `config/conditions.yaml`, with equal probability where applicable.
        paired: whether to return clean patches in addition to the corrupted ones; if not, they are the same tensor.
    """

    cases: Mapping[str, PreparedCase]
    index: pd.DataFrame
    modalities: Mapping[str, Mapping[str, Any]]
    outputs: Outputs
    patch: tuple[int, int, int]
    slicewise: bool
    foreground_share: float
    modality_dropout: float = 0.0
    corruption_share: float = 0.0
    corrupted_together: float = 0.0
    corruptions: Sequence[Mapping[str, Any]] = ()
    paired: bool = False

    def draw(self, size: int, generator: np.random.Generator) -> Batch:
        """A batch of `size` patches; the generator is the only source of randomness."""
        by_region, in_body = self._slices
        selected: list[tuple[str, int, Sequence[int]]] = []
        for region, share in _shares(list(by_region), round(size * self.foreground_share), generator):
            selected += [
                (*by_region[region][i], self.outputs.regions[region])
                for i in generator.integers(len(by_region[region]), size=share)
            ]
        others = generator.integers(len(in_body), size=size - len(selected))
        selected += [(*in_body[i], self.outputs.labels) for i in others]
        patches = [self._patch(*location, generator) for location in selected]
        batch = Batch(*(torch.from_numpy(np.stack(part)) for part in zip(*patches, strict=True)))
        return batch if self.paired else replace(batch, clean=batch.images)

    def restricted(self, cases: Collection[str]) -> "PatchSampler":
        """The sampler of some of the cases, with the same settings."""
        kept = {name: case for name, case in self.cases.items() if name in cases}
        return replace(self, cases=kept, index=self.index[self.index["case"].isin(kept)])

    def holders(self, region: str) -> set[str]:
        """The cases that have a slice with a region."""
        return {name for name, _ in self._slices[0].get(region, ())}

    @property
    def slices_in_body(self) -> int:
        """Number of slices with body."""
        return len(self._slices[1])

    @cached_property
    def _slices(self) -> tuple[dict[str, list[tuple[str, int]]], list[tuple[str, int]]]:
        """(Case, slice) of every slice with a region, by region, and of every slice with body."""
        order = self.index.sort_values(["case", "slice"], kind="stable")
        by_region = {
            str(region): _places(rows)
            for region, rows in order[order["region_voxels"] > 0].groupby("region", sort=False)
        }
        ordered = {region: by_region[region] for region in self.outputs.regions if region in by_region}
        return ordered, _places(order[order["body_voxels"] > 0].drop_duplicates(["case", "slice"]))

    def _patch(
        self, name: str, z: int, around: Sequence[int], generator: np.random.Generator
    ) -> tuple[np.ndarray, ...]:
        case = self.cases[name]
        target = np.isin(case.slices.labels(z), around) if self.outputs.regions else case.slices.body(z)
        x, y = _corner(target, self.patch[:2], generator)
        patch = case.slices.patch((x, y, self._first_slice(z, case, generator)), self.patch)
        acquired, available, labels = patch.images, patch.presence, patch.labels
        images, quality = self._corrupted(acquired, available & patch.body, case, generator)
        presence, retained = available.copy(), self._kept(np.asarray(available.any(axis=(1, 2, 3))), generator)
        presence[~retained], quality[~retained] = False, 0
        clean = self._normalized(acquired, presence, case)
        network_input = clean if images is acquired else self._normalized(images, presence, case)
        middle = slice(self.patch[2] // 2, self.patch[2] // 2 + 1) if self.slicewise else slice(None)
        reference, spacing_mm = self.outputs.reference(labels[..., middle]), _spacing_mm(case.affine)
        return network_input, clean, presence, reference, quality, np.array(spacing_mm, np.float32)

    def _first_slice(self, z: int, case: PreparedCase, generator: np.random.Generator) -> int:
        if self.slicewise:
            return z - self.patch[2] // 2
        return _shifted(z, int(generator.integers(self.patch[2])), len(case.slices), self.patch[2])

    def _corrupted(
        self, images: np.ndarray, inside: np.ndarray, case: PreparedCase, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        quality = np.asarray(inside.any(axis=(1, 2, 3)), np.float32)
        corrupted = images
        shared = self._one_for_all(generator)
        for channel, (modality, block) in enumerate(self.modalities.items()):
            applicable = [
                corruption for corruption in shared or self.corruptions if corrupts(corruption, modality, block["kind"])
            ]
            if applicable and quality[channel] and (shared or generator.random() < self.corruption_share):
                selected = applicable[generator.integers(len(applicable))]
                corrupted = images.copy() if corrupted is images else corrupted
                corrupted[channel] = CORRUPTIONS[selected["corruption"]](
                    images[channel],
                    inside[channel],
                    settings=selected["settings"],
                    spacing_mm=_spacing_mm(case.affine),
                    generator=generator,
                )
                quality[channel] = 0
        return corrupted, quality

    def _one_for_all(self, generator: np.random.Generator) -> list[Mapping[str, Any]]:
        """A single corruption for all modalities of a patch; empty if each modality draws its own."""
        if not self.corruptions or generator.random() >= self.corrupted_together:
            return []
        return [self.corruptions[int(generator.integers(len(self.corruptions)))]]

    def _kept(self, available: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        modalities = np.flatnonzero(available)
        if len(modalities) < 2 or generator.random() >= self.modality_dropout:
            return available
        subset = generator.integers(1, 2 ** len(modalities))
        retained = np.zeros_like(available)
        retained[modalities[(subset >> np.arange(len(modalities))) & 1 == 1]] = True
        return retained

    def _normalized(self, images: np.ndarray, presence: np.ndarray, case: PreparedCase) -> np.ndarray:
        return normalize_all(images, presence, modalities=self.modalities, statistics=case.statistics)


def sampler_of(plan: Mapping[str, Any], cases: Mapping[str, PreparedCase], index: pd.DataFrame) -> PatchSampler:
    """The sampler of a plan's training cases.

    A case of which a region was lost in resampling is not sampled: its voxels would teach that there is no lesion.

    Args:
        plan: from `make_plan`.
        cases: at least the plan's training cases.
        index: rows of `PATCHES` of at least these cases.

    Raises:
        BadInput: a region was lost in every case.
    """
    settings = plan["block"]["training"]
    sampled = _without_lost(plan, cases)
    return PatchSampler(
        cases={name: cases[name] for name in sampled},
        index=index[index["case"].isin(sampled)],
        modalities=plan_modalities(plan),
        outputs=plan_outputs(plan),
        patch=tuple(settings["patch"]),
        slicewise=is_slicewise(plan["block"]),
        foreground_share=settings["foreground_share"],
        modality_dropout=settings["modality_dropout"],
        corruption_share=settings["corruption"]["probability"],
        corrupted_together=settings["corruption"]["together"],
        corruptions=plan["corruptions"],
        paired=needs_clean_images(plan["block"]),
    )


def _without_lost(plan: Mapping[str, Any], cases: Mapping[str, PreparedCase]) -> list[str]:
    """The training cases of a plan whose regions are all on the grid as they were drawn."""
    sampled = []
    for name in plan["training_cases"]:
        lost = [region for region, values in plan_regions(plan).items() if cases[name].lost(values)]
        if lost:
            log.warning("%s: %s was lost in resampling, so the case is not trained on", name, ", ".join(lost))
        else:
            sampled.append(name)
    if not sampled:
        raise BadInput(
            f"{plan['dataset']}, fold {plan['fold']}: expected a training case whose lesion is still there after "
            "resampling, got none; choose a finer spacing_mm for the dataset."
        )
    return sampled


def _places(rows: pd.DataFrame) -> list[tuple[str, int]]:
    return list(zip(rows["case"].tolist(), rows["slice"].tolist(), strict=True))


def _shares(regions: Sequence[str], total: int, generator: np.random.Generator) -> list[tuple[str, int]]:
    """Number of patches per region: equal, the remainder to regions drawn without replacement."""
    if not regions:
        return []
    order = generator.permutation(len(regions)) if len(regions) > 1 else [0]
    shares = {regions[index]: total // len(regions) + (rank < total % len(regions)) for rank, index in enumerate(order)}
    return [(region, shares[region]) for region in regions]


def _spacing_mm(affine: np.ndarray) -> Spacing:
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return x, y, z


def _corner(target: np.ndarray, patch: tuple[int, int], generator: np.random.Generator) -> tuple[int, int]:
    voxels = np.argwhere(target)
    anchor = voxels[generator.integers(len(voxels))] if len(voxels) else [generator.integers(n) for n in target.shape]
    within = [generator.integers(size) for size in patch]
    x, y = (
        _shifted(int(a), int(w), n, size) for a, w, n, size in zip(anchor, within, target.shape, patch, strict=True)
    )
    return x, y


def _shifted(anchor: int, within: int, extent: int, size: int) -> int:
    """First voxel of a patch that holds `anchor` at its position `within`, clipped to the image where it fits."""
    return int(np.clip(anchor - within, min(0, extent - size), max(0, extent - size)))
