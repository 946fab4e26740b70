"""Validation of a network while it trains: the Dice of its regions, and scores of the images that it fuses."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32
from torch import nn

from diffufuse.metrics.confusion import confusion
from diffufuse.metrics.fusion.catalogue import FUSION_METRICS
from diffufuse.metrics.fusion.images import SMALLEST_SIDE, Fusion
from diffufuse.metrics.fusion.where import where_both
from diffufuse.plan.plans import plan_modalities, plan_outputs, plan_regions
from diffufuse.store.case import PreparedCase
from diffufuse.store.normalization import normalized
from diffufuse.store.scan import Scan
from diffufuse.types import Mask

Predict: TypeAlias = Callable[[nn.Module, Scan, Mapping[str, Any]], Mapping[str, np.ndarray]]
Fuse: TypeAlias = Callable[[nn.Module, Scan, Mapping[str, Any]], tuple[Float32[np.ndarray, "x y z"], Mask]]

# Of an image alone, and beside Dice, where the image is not the end in itself.
OF_A_FUSER, BESIDE_DICE = ("psnr", "ssim", "qabf"), ("qabf",)
# A curve needs no more; a case has a hundred slices, and each costs some 30 ms.
MOST_SLICES = 16


def validation(
    network: nn.Module,
    cases: Sequence[PreparedCase],
    plan: Mapping[str, Any],
    *,
    predict: Predict,
    fuse: Fuse | None = None,
) -> dict[str, float]:
    """Means over the validation cases: quantity → value; NaN without cases.

    Args:
        network: of the plan.
        cases: with the images of the plan.
        plan: from `make_plan`.
        predict: network, scan and plan → probability of every region; for a network with regions.
        fuse: network, scan and plan → fused image, gray levels in 0..1, and where it is; for a network that fuses.
            Without, no image is scored.

    Returns:
        `validation_dice_{region}` of every region; `validation_{metric}` of fused images: PSNR, SSIM and Qabf of a
        fuser, Qabf of a network that segments the image that it fuses.
    """
    scores: dict[str, float] = {}
    is_fuser = plan_outputs(plan).kind == "image"
    if not is_fuser:
        dice = validation_dice(network, cases, plan, predict=predict)
        scores |= {f"validation_dice_{region}": value for region, value in dice.items()}
    if fuse is not None and (is_fuser or hasattr(network, "fuse")):
        metrics = OF_A_FUSER if is_fuser else BESIDE_DICE
        of_images = validation_fusion(network, cases, plan, metrics=metrics, fuse=fuse)
        scores |= {f"validation_{metric}": value for metric, value in of_images.items()}
    return scores


def validation_dice(
    network: nn.Module, cases: Sequence[PreparedCase], plan: Mapping[str, Any], *, predict: Predict
) -> dict[str, float]:
    """Mean over cases of the Dice of each region in 3-D; NaN without cases that have it, be it empty.

    A case of which the region was lost in resampling is left out.
    """
    regions = plan_regions(plan)
    if not cases:
        return dict.fromkeys(regions, float("nan"))
    network.eval()
    per_case = []
    for case in cases:
        labels = case.slices.labels(slice(None)).transpose(1, 2, 0)
        probability = predict(network, case.scan, plan)
        truth = {name: np.isin(labels, values) for name, values in regions.items()}
        per_case.append(
            [
                math.nan if case.lost(values) else confusion(probability[name] >= 0.5, truth[name]).dice
                for name, values in regions.items()
            ]
        )
    scored = np.count_nonzero(~np.isnan(per_case), axis=0)
    means = np.divide(np.nansum(per_case, axis=0), scored, out=np.full(len(regions), math.nan), where=scored > 0)
    return dict(zip(regions, means.tolist(), strict=True))


def validation_fusion(
    network: nn.Module,
    cases: Sequence[PreparedCase],
    plan: Mapping[str, Any],
    *,
    metrics: Sequence[str],
    fuse: Fuse,
) -> dict[str, float]:
    """Mean over cases of metrics of the fused image against both sources, as the network reads them.

    Of a case at most `MOST_SLICES` axial slices count, evenly spaced among those with body and both modalities, each
    where both were acquired. A value that is not finite is left out; NaN without any.
    """
    network.eval()
    values: dict[str, list[float]] = {metric: [] for metric in metrics}
    for case in cases:
        fused, _ = fuse(network, case.scan, plan)
        sources = normalized(case.scan, modalities=plan_modalities(plan))
        both, stacks = np.asarray(sources.presence.all(axis=0)), (*sources.images, fused)
        slices = _some(np.flatnonzero((sources.body & both).any(axis=(0, 1))))
        planes = [where_both([stack[..., z] for stack in stacks], both[..., z]) for z in slices]
        images = [Fusion(*plane) for plane in planes if min(plane[0].shape) >= SMALLEST_SIDE]
        for metric in metrics:
            values[metric].append(_mean(FUSION_METRICS[metric].of(image) for image in images))
    return {metric: _mean(of_cases) for metric, of_cases in values.items()}


def _some(slices: np.ndarray) -> np.ndarray:
    places = np.linspace(0, len(slices) - 1, min(MOST_SLICES, len(slices)))
    return slices[places.round().astype(int)]


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan
