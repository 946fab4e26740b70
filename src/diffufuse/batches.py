"""Which slices a training sees: balanced draws of patches from the slice stores of its cases."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from diffufuse.normalization import normalize_all
from diffufuse.prepared import PreparedCase


@dataclass(frozen=True)
class SliceSampler:
    """Draws batches of patches, a share of them from slices in which a region is seen.

    Attributes:
        cases: name to prepared case.
        index: rows of `tables.PATCHES` of these cases.
        modalities: name to its block of `config/datasets.yaml`; the order is the channels' order.
        regions: name to the label values that it joins; the order is the output's order.
        patch: size (X, Y) of a patch in voxels.
        foreground_share: share of a batch that comes from slices with a region, 0..1.
    """

    cases: Mapping[str, PreparedCase]
    index: pd.DataFrame
    modalities: Mapping[str, Mapping[str, Any]]
    regions: Mapping[str, list[int]]
    patch: tuple[int, int]
    foreground_share: float

    def draw(self, size: int, generator: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A batch of normalized images and presence, (B, M, X, Y) each, and reference, (B, R, X, Y)."""
        seen, anywhere = self._slices
        with_region = round(size * self.foreground_share) if seen else 0
        picked = [seen[i] for i in generator.integers(len(seen), size=with_region)] if with_region else []
        picked += [anywhere[i] for i in generator.integers(len(anywhere), size=size - with_region)]
        patches = [self._patch(name, z, generator) for name, z in picked]
        images, presence, reference = (torch.from_numpy(np.stack(part)) for part in zip(*patches, strict=True))
        return images, presence, reference

    @cached_property
    def _slices(self) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Case and number of every slice with a region, and of every slice with body."""
        held = self.index.groupby(["case", "slice"], as_index=False)[["body_voxels", "region_voxels"]].sum()
        seen, anywhere = held[held.region_voxels > 0], held[held.body_voxels > 0]
        return tuple(list(zip(part["case"], part["slice"].tolist(), strict=True)) for part in (seen, anywhere))  # type: ignore[return-value]

    def _patch(self, name: str, z: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        case = self.cases[name]
        x, y = _corner(np.isin(case.slices.labels(z), self._labels), self.patch, generator)
        patch = case.slices.patch((x, y, z), (*self.patch, 1))
        presence, labels = patch.presence[..., 0], patch.labels[..., 0]
        images = normalize_all(patch.images[..., 0], presence, modalities=self.modalities, statistics=case.statistics)
        reference = np.stack([np.isin(labels, values) for values in self.regions.values()]).astype(np.float32)
        return images, presence, reference

    @property
    def _labels(self) -> list[int]:
        return sorted({value for values in self.regions.values() for value in values})


def _corner(target: np.ndarray, patch: tuple[int, int], generator: np.random.Generator) -> tuple[int, int]:
    voxels = np.argwhere(target)
    anchor = voxels[generator.integers(len(voxels))] if len(voxels) else [generator.integers(n) for n in target.shape]
    within = [generator.integers(size) for size in patch]
    corner = [
        int(np.clip(a - w, min(0, n - size), max(0, n - size)))
        for a, w, n, size in zip(anchor, within, target.shape, patch, strict=True)
    ]
    return corner[0], corner[1]
