"""Apply a test condition to a scan: a corruption, or withheld modalities."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from diffufuse.conditions.corruptions import CORRUPTIONS, REMOVALS
from diffufuse.errors import BadInput
from diffufuse.seeds import seed_of
from diffufuse.store.scan import Scan
from diffufuse.types import Spacing

Stage = Literal["acquisition", "normalization"]


def withheld(condition: Mapping[str, Any], modalities: Iterable[str]) -> list[str]:
    """Return the modalities that a condition withholds.

    Args:
        condition: a block of `config/conditions.yaml`: `absent` lists the withheld modalities, or `present` the others.
        modalities: of a dataset.

    Returns:
        A subset of `modalities`, in their order; empty for a condition that withholds none.
    """
    absent, present = condition.get("absent", ()), condition.get("present")
    return [name for name in modalities if name in absent or (present is not None and name not in present)]


def corrupts(condition: Mapping[str, Any], modality: str, kind: str) -> bool:
    """Return whether a condition's corruption applies to a modality.

    Args:
        condition: a block of `config/conditions.yaml`; `modalities` and `kinds`, if given, must both allow it.
        modality: name of the modality, e.g. t1.
        kind: its kind: pet, ct or mr.

    Returns:
        False also for a condition without corruption and for a withheld modality.
    """
    return (
        "corruption" in condition
        and not withheld(condition, [modality])
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
    after: Stage = "acquisition",
) -> Scan:
    """Apply a condition to a scan; the result is deterministic and independent of order, process and machine.

    Args:
        scan: a prepared case.
        condition: a block of `config/conditions.yaml`: `absent` or `present` defines the withheld modalities;
            `corruption` with `settings` is applied to the `modalities` and `kinds` listed, or to all, in physical units
            or `after: normalization`.
        modalities: names of the scan's images, in order, to their blocks of `config/datasets.yaml`; `kind` is read.
        spacing_mm: voxel size of the scan.
        study_seed: seed of the study.
        names: dataset, case and condition, from which the random seed is derived with the name of the modality; it does
            not depend on the other modalities.
        after: current stage of the scan. A corruption of another stage is not applied, so this function is called at
            both stages.

    Returns:
        A new scan; withheld modalities and voxels removed by a corruption have presence False and value 0.

    Raises:
        BadInput: the condition has a corruption that applies to none of the modalities.
    """
    corrupted = [name for name, block in modalities.items() if corrupts(condition, name, block["kind"])]
    if "corruption" in condition and not corrupted:
        names_and_kinds = ", ".join(f"{name} ({block['kind']})" for name, block in modalities.items())
        raise BadInput(f"condition: {condition['corruption']} applies to none of {names_and_kinds}; leave it out.")
    images, presence = scan.images.copy(), scan.presence.copy()
    for channel, modality in enumerate(modalities):
        if withheld(condition, [modality]):
            presence[channel] = False
        elif modality in corrupted and condition.get("after", "acquisition") == after:
            inside, name = scan.body & presence[channel], condition["corruption"]
            arguments = {
                "settings": condition["settings"],
                "spacing_mm": spacing_mm,
                "generator": np.random.default_rng(seed_of(study_seed, *names, modality)),
            }
            if name in REMOVALS:
                presence[channel] &= REMOVALS[name](inside, **arguments)
            else:
                images[channel] = CORRUPTIONS[name](images[channel], inside, **arguments)
    return Scan(np.where(presence, images, np.float32(0)), presence, scan.body)
