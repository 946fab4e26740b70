"""Under which circumstances a case is predicted: unchanged, corrupted, or with modalities withheld."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from diffufuse.corruptions import CORRUPTIONS
from diffufuse.scan import Scan
from diffufuse.seeds import seed_of


def apply_condition(
    scan: Scan,
    condition: Mapping[str, Any],
    *,
    modalities: tuple[str, ...],
    study_seed: int,
    names: tuple[str, ...],
) -> Scan:
    """The scan under a condition; the same voxels whatever the order, process or machine.

    Args:
        scan: a prepared case.
        condition: a block of `config/conditions.yaml`: `absent` lists modalities to withhold; `corruption` with
            `settings` is applied to the `modalities` listed, or to all.
        modalities: names of the scan's images, in order.
        study_seed: the study's one seed.
        names: what the randomness belongs to: dataset, case, condition.

    Returns:
        A new scan; a withheld modality has presence False and value 0 throughout.
    """
    images, presence = scan.images.copy(), scan.presence.copy()
    for channel, modality in enumerate(modalities):
        inside = scan.body & presence[channel]
        if modality in condition.get("absent", ()):
            images[channel], presence[channel] = 0, False
        elif "corruption" in condition and modality in condition.get("modalities", modalities) and inside.any():
            images[channel] = CORRUPTIONS[condition["corruption"]](
                images[channel],
                inside,
                settings=condition["settings"],
                generator=np.random.default_rng(seed_of(study_seed, *names, modality)),
            )
    return Scan(images, presence, scan.body)
