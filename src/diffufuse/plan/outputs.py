"""A network's output channels: a sigmoid per region, a softmax over background and labels, or one fused image."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Outputs:
    """The output channels of a network and the regions computed from them.

    Attributes:
        kind: `regions` has a sigmoid per region, so regions may overlap; `labels` has one softmax over background and
            labels, and a region is the sum of its labels; `image` is one channel of gray levels in 0..1, which the
            network bounds itself.
        regions: region to the label values that it joins, in the order of reporting; none for an image.
    """

    kind: Literal["regions", "labels", "image"]
    regions: Mapping[str, list[int]]

    def __post_init__(self) -> None:
        """Check that an image has no regions, and that regions and labels have some.

        Raises:
            ValueError: the regions do not fit the kind.
        """
        if bool(self.regions) == (self.kind == "image"):
            raise ValueError(
                f"regions: expected {'none' if self.kind == 'image' else 'some'} for outputs of the kind {self.kind}"
            )

    @cached_property
    def labels(self) -> list[int]:
        """Every label value of any region, ascending; channel 0 of a softmax is the background."""
        return sorted({value for values in self.regions.values() for value in values})

    @property
    def channels(self) -> int:
        """Number of logits C per voxel."""
        return len(self.regions) if self.kind == "regions" else 1 + len(self.labels)  # an image has no labels

    def reference(self, labels: Integer[np.ndarray, "..."]) -> Float[np.ndarray, "channel ..."]:
        """The target of each channel, 0 or 1, float32; no channel for an image, which has no reference."""
        if self.kind == "image":
            return np.zeros((0, *labels.shape), np.float32)
        groups = list(self.regions.values()) if self.kind == "regions" else [[value] for value in self.labels]
        channels = [np.isin(labels, values) for values in groups]
        if self.kind == "labels":
            channels.insert(0, ~np.isin(labels, self.labels))
        return np.stack(channels).astype(np.float32)

    def require_logits(self, values: Float[Tensor, "channel voxel"]) -> None:
        """Check that values are logits; probabilities would be squashed a second time, to near one half.

        Of an image, check that they are gray levels in 0..1.

        Values in 0..1 that sum to 1 everywhere are the output of a softmax; varying values of many voxels that all lie
        in 0..1 are taken for the output of a sigmoid, as the logits of a whole body never look like this.

        Raises:
            ValueError: the values have been through a softmax or a sigmoid, or are no gray levels.
        """
        if self.kind == "image":
            if values.numel() and not (values.min() >= 0 and values.max() <= 1):
                raise ValueError(
                    f"image: expected gray levels in 0..1, got {float(values.min()):.3g}..{float(values.max()):.3g}; "
                    "bound the output of the network"
                )
            return
        if not values.numel() or values.min() < 0 or values.max() > 1 or values.min() == values.max():
            return
        summed = values.sum(dim=0)
        if self.kind != "labels" or bool((summed - 1).abs().max() < SUM_TOLERANCE):
            step = "softmax" if self.kind == "labels" else "sigmoid"
            raise ValueError(
                f"logits: expected values before the {step}, but all lie in "
                f"{float(values.min()):.3g}..{float(values.max()):.3g}: the network applies it already; remove it there"
            )

    def probabilities(self, logits: Float[Tensor, "batch channel ..."]) -> Float[Tensor, "batch channel ..."]:
        """Probability of each channel, or the gray levels of an image, float32."""
        if self.kind == "image":
            return logits.float()
        return torch.softmax(logits.float(), dim=1) if self.kind == "labels" else torch.sigmoid(logits.float())

    def region_probabilities(self, logits: Float[Tensor, "batch channel ..."]) -> Float[Tensor, "batch region ..."]:
        """Probability of each region: its sigmoid, or the sum of its labels' softmax probabilities."""
        shares = self.probabilities(logits)
        if self.kind == "regions":
            return shares
        channel = {value: 1 + place for place, value in enumerate(self.labels)}
        return torch.stack(
            [shares[:, [channel[value] for value in values]].sum(dim=1) for values in self.regions.values()], dim=1
        )
