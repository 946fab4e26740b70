"""The head of DM-FNet (arXiv 2506.15218): from features of two images at several times and scales to one image."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from diffufuse.models.dmfnet.attention import AdaptiveFusion, Weights


class FusionHead(nn.Module):
    """At every scale the times are merged and the images fused; coarse results are added to finer ones."""

    def __init__(self, widths: Sequence[int], *, times: int, weights: Weights) -> None:
        """Build the head.

        Args:
            widths: channels of the features, from coarse to fine.
            times: number of times of which there are features; one is merged as well as several.
            weights: as for `AdaptiveFusion`.
        """
        super().__init__()
        finest = widths[-1]
        self.merges = nn.ModuleList(_merging(times * width, width) for width in widths)
        self.fusions = nn.ModuleList(AdaptiveFusion(width, weights=weights) for width in widths)
        self.scales = nn.ModuleList(_merging(width, finest) for width in widths)
        self.from_far = nn.ModuleList(_merging(finest, finest) for _ in widths[2:])
        self.end = nn.Sequential(
            nn.Conv2d(finest, finest // 2, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(finest // 2, 1, 3, padding=1)
        )

    def forward(self, features: Sequence[Float[Tensor, "batch 2 times_width x y"]]) -> Float[Tensor, "batch 1 x y"]:
        """Return the fused image in 0..1.

        Args:
            features: of both images, from coarse to fine, the channels of all times in one.
        """
        results: list[Tensor] = []
        parts = zip(features, self.merges, self.fusions, self.scales, strict=True)
        for scale, (both, merge, fusion, to_finest) in enumerate(parts):
            result = to_finest(fusion(*merge(both.flatten(0, 1)).unflatten(0, (-1, 2)).unbind(dim=1)))
            if scale > 1:
                far = self.from_far[scale - 2](results[-2])
                result = result + _enlarged(results[-1], result) + _enlarged(far, result)
            results.append(result)
        return (1 + torch.tanh(self.end(results[-1]))) / 2


def _merging(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU())


def _enlarged(maps: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=True)
