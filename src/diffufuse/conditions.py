"""Under which circumstances a case is predicted: unchanged, corrupted, or with modalities withheld."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from diffufuse.corruptions import CORRUPTIONS
from diffufuse.errors import BadInput
from diffufuse.scan import Scan
from diffufuse.seeds import seed_of
from diffufuse.types import Spacing


def corrupts(condition: Mapping[str, Any], modality: str, kind: str) -> bool:
    """Whether a condition's corruption applies to a modality.

    Args:
        condition: a block of `config/conditions.yaml`; `modalities` and `kinds`, if given, must both allow it.
        modality: name of the modality, e.g. t1.
        kind: its kind: pet, ct or mr.

    Returns:
        False too for a condition without a corruption and for a modality that the condition withholds.
    """
    return (
        "corruption" in condition
        and modality not in condition.get("absent", ())
        and modality in condition.get("modalities", [modality])
        and kind in condition.get("kinds", [kind])
    )


def apply_condition(
    scan: Scan,
    condition: Mapping[str, Any],
    *,
    modalities: Mapping[str, Mapping[str, Any]],
    spacing_mm: Spacing,
    study_seed: int,
    names: tuple[str, ...],
) -> Scan:
    """The scan under a condition; the same voxels whatever the order, process or machine.

    Args:
        scan: a prepared case.
        condition: a block of `config/conditions.yaml`: `absent` lists modalities to withhold; `corruption` with
            `settings` is applied to the `modalities` and `kinds` listed, or to all.
        modalities: names of the scan's images, in order, to their blocks of `config/datasets.yaml`; `kind` is read.
        spacing_mm: voxel size of the scan.
        study_seed: the study's one seed.
        names: what the randomness belongs to: dataset, case, condition. A modality's numbers depend on its own name
            beside these, not on the other modalities.

    Returns:
        A new scan; a withheld modality has presence False and value 0 throughout.

    Raises:
        BadInput: the condition has a corruption and no modality is one that it applies to: the result would bear the
            name of a corruption that never was.
    """
    corrupted = [name for name, block in modalities.items() if corrupts(condition, name, block["kind"])]
    if "corruption" in condition and not corrupted:
        found = ", ".join(f"{name} ({block['kind']})" for name, block in modalities.items())
        raise BadInput(f"condition: {condition['corruption']} applies to none of {found}; leave it out.")
    images, presence = scan.images.copy(), scan.presence.copy()
    for channel, modality in enumerate(modalities):
        if modality in condition.get("absent", ()):
            images[channel], presence[channel] = 0, False
        elif modality in corrupted:
            images[channel] = CORRUPTIONS[condition["corruption"]](
                images[channel],
                scan.body & presence[channel],
                settings=condition["settings"],
                spacing_mm=spacing_mm,
                generator=np.random.default_rng(seed_of(study_seed, *names, modality)),
            )
    return Scan(images, presence, scan.body)
