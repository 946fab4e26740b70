"""Monte Carlo samples of a stochastic model: their mean probability, and the volume of the region in each.

The prediction of a model with `diffusion: renoise` depends on the noise that it draws.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from diffufuse.predict.inference import HALF, predict_case
from diffufuse.seeds import seed_of
from diffufuse.space.volumes import MM3_PER_ML
from diffufuse.store.scan import Scan
from diffufuse.types import Spacing

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
    **settings: Any,
) -> tuple[dict[str, np.ndarray], dict[str, list[float]]]:
    """Mean probability of every region over several samples, and its volume in each sample.

    Args:
        network: with an attribute `noise_seed`, the seed of its noise, if `samples` is more than one.
        scan: the case with its condition applied.
        plan: of the network.
        samples: number of samples; 1 is the plain prediction.
        spacing_mm: voxel size of the scan.
        names: dataset, case and condition, which with the plan's seeds determine the noise.
        settings: further keywords of `predict_case`.

    Returns:
        Region → (X, Y, Z) float32; and region → mL of each sample, empty for a plain prediction.

    Raises:
        ValueError: more than one sample is requested of a deterministic network.
    """
    if samples == 1:
        probabilities = predict_case(network, scan, plan, **settings)
        return probabilities, {region: [] for region in probabilities}
    if not hasattr(network, NOISE_SEED):
        raise ValueError(f"samples: expected 1 for a network that draws no noise, got {samples}")
    total: dict[str, np.ndarray] = {}
    volumes_ml: dict[str, list[float]] = {}
    for sample in range(samples):
        seed = seed_of(plan["study_seed"], "sample", *names, sample) % (1 << SEED_BITS)
        setattr(network, NOISE_SEED, seed)
        for region, probability in predict_case(network, scan, plan, **settings).items():
            voxels = np.count_nonzero(probability >= HALF)
            total[region] = total.get(region, 0) + probability / np.float32(samples)
            volumes_ml.setdefault(region, []).append(float(voxels * np.prod(spacing_mm) / MM3_PER_ML))
    return {region: np.minimum(mean, np.float32(1)) for region, mean in total.items()}, volumes_ml
