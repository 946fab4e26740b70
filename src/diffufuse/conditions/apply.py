"""Under which circumstances a case is predicted: unchanged, corrupted, or with modalities withheld."""

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
    """The modalities that a condition withholds, as if they had never been acquired.

    Args:
        condition: a block of `config/conditions.yaml`: `absent` names what is withheld, `present` what is not.
        modalities: of a dataset.

    Returns:
        A part of `modalities`, in their order; empty for a condition that withholds nothing.
    """
    absent, present = condition.get("absent", ()), condition.get("present")
    return [name for name in modalities if name in absent or (present is not None and name not in present)]


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
    """The scan under a condition; the same voxels whatever the order, process or machine.

    Args:
        scan: a prepared case.
        condition: a block of `config/conditions.yaml`: `absent` or `present` tells which modalities to withhold;
            `corruption` with `settings` is applied to the `modalities` and `kinds` listed, or to all, in physical units
            or `after: normalization`.
        modalities: names of the scan's images, in order, to their blocks of `config/datasets.yaml`; `kind` is read.
        spacing_mm: voxel size of the scan.
        study_seed: the study's one seed.
        names: what the randomness belongs to: dataset, case, condition. A modality's numbers depend on its own name
            beside these, not on the other modalities.
        after: what was done to the scan so far. A corruption that acts after something else leaves it as it is, so a
            condition is applied after both.

    Returns:
        A new scan; a withheld modality has presence False and value 0 throughout, and so has what a corruption removed.

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
        if withheld(condition, [modality]):
            presence[channel] = False
        elif modality in corrupted and condition.get("after", "acquisition") == after:
            inside, name = scan.body & presence[channel], condition["corruption"]
            drawn = {
                "settings": condition["settings"],
                "spacing_mm": spacing_mm,
                "generator": np.random.default_rng(seed_of(study_seed, *names, modality)),
            }
            if name in REMOVALS:
                presence[channel] &= REMOVALS[name](inside, **drawn)
            else:
                images[channel] = CORRUPTIONS[name](images[channel], inside, **drawn)
    return Scan(np.where(presence, images, np.float32(0)), presence, scan.body)
