"""Several samples of what a model may say of one scan: their mean, and how large the region is in each.

A model whose prediction depends on noise it draws, as `diffusion: renoise` does, gives another answer for every draw.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from diffufuse.predict.inference import HALF, predict_case
from diffufuse.seeds import seed_of
from diffufuse.store.scan import Scan
from diffufuse.types import Spacing

MM3_PER_ML = 1000.0
SEED_BITS = 30
NOISE_SEED = "noise_seed"


def predict_sampled(
    network: nn.Module,
    scan: Scan,
    plan: Mapping[str, Any],
    *,
    samples: int,
    spacing_mm: Spacing,
    names: tuple[str, ...],
    **how: Any,
) -> tuple[dict[str, np.ndarray], dict[str, list[float]]]:
    """The mean probability of every region over several samples, and its volume in each of them.

    Args:
        network: with an attribute `noise_seed`, from which the noise it draws follows, if `samples` is more than one.
        scan: the case under its condition.
        plan: of the network.
        samples: how many; one is the plain prediction.
        spacing_mm: voxel size of the scan.
        names: what the noise belongs to beside the plan's seeds: dataset, case, condition.
        how: further keywords of `predict_case`.

    Returns:
        Region → (X, Y, Z) float32; and region → mL of each sample, empty for a plain prediction.

    Raises:
        ValueError: more than one sample of a network that draws no noise.
    """
    if samples == 1:
        probabilities = predict_case(network, scan, plan, **how)
        return probabilities, {region: [] for region in probabilities}
    if not hasattr(network, NOISE_SEED):
        raise ValueError(f"samples: expected 1 for a network that draws no noise, got {samples}")
    total: dict[str, np.ndarray] = {}
    volumes_ml: dict[str, list[float]] = {}
    for sample in range(samples):
        seed = seed_of(plan["study_seed"], "sample", *names, sample) % (1 << SEED_BITS)
        setattr(network, NOISE_SEED, seed)
        for region, probability in predict_case(network, scan, plan, **how).items():
            voxels = np.count_nonzero(probability >= HALF)
            total[region] = total.get(region, 0) + probability / np.float32(samples)
            volumes_ml.setdefault(region, []).append(float(voxels * np.prod(spacing_mm) / MM3_PER_ML))
    return {region: np.minimum(mean, np.float32(1)) for region, mean in total.items()}, volumes_ml
