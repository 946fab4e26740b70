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
        seen = self._slices[self._slices.region_voxels > 0]
        anywhere = self._slices[self._slices.body_voxels > 0]
        with_region = round(size * self.foreground_share) if len(seen) else 0
        picked = [seen.iloc[i] for i in generator.integers(len(seen), size=with_region)] if with_region else []
        picked += [anywhere.iloc[i] for i in generator.integers(len(anywhere), size=size - with_region)]
        patches = [self._patch(row["case"], int(row["slice"]), generator) for row in picked]
        images, presence, reference = (torch.from_numpy(np.stack(part)) for part in zip(*patches, strict=True))
        return images, presence, reference

    @cached_property
    def _slices(self) -> pd.DataFrame:
        return self.index.groupby(["case", "slice"], as_index=False)[["body_voxels", "region_voxels"]].sum()

    def _patch(self, name: str, z: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        case = self.cases[name]
        presence, labels = case.slices.presence(z), case.slices.labels(z)
        images = normalize_all(case.slices.images(z), presence, modalities=self.modalities, statistics=case.statistics)
        reference = np.stack([np.isin(labels, values) for values in self.regions.values()]).astype(np.float32)
        corner = _corner(reference.max(axis=0), self.patch, generator)
        return tuple(_crop(part, corner, self.patch) for part in (images, presence, reference))  # type: ignore[return-value]


def _corner(target: np.ndarray, patch: tuple[int, int], generator: np.random.Generator) -> tuple[int, int]:
    voxels = np.argwhere(target)
    anchor = voxels[generator.integers(len(voxels))] if len(voxels) else [generator.integers(n) for n in target.shape]
    within = [generator.integers(size) for size in patch]
    corner = [
        int(np.clip(a - w, min(0, n - size), max(0, n - size)))
        for a, w, n, size in zip(anchor, within, target.shape, patch, strict=True)
    ]
    return corner[0], corner[1]


def _crop(stack: np.ndarray, corner: tuple[int, int], patch: tuple[int, int]) -> np.ndarray:
    cropped = np.zeros((*stack.shape[:-2], *patch), stack.dtype)
    (x, y), (nx, ny) = corner, stack.shape[-2:]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + patch[0], nx), min(y + patch[1], ny)
    cropped[..., x0 - x : x1 - x, y0 - y : y1 - y] = stack[..., x0:x1, y0:y1]
    return cropped
