"""The synthetic cohort, generated without a download."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.fetch.extent import Extent


def fetch(raw: Path, source: Mapping[str, Any], *, study_seed: int) -> None:
    """Generate the patients in the raw folder, and the ground truth in `{raw}_truth` beside it.

    Args:
        raw: the raw folder.
        source: `patients`, their number.
        study_seed: seed of the study.
    """
    from diffufuse.phantom import write_phantom_cohort

    write_phantom_cohort(raw, raw.with_name(f"{raw.name}_truth"), patients=source["patients"], study_seed=study_seed)


def extent(source: Mapping[str, Any]) -> Extent:
    """Number of patients."""
    return Extent(cases=source["patients"], bytes=0)


def address(source: Mapping[str, Any]) -> str:
    """Source of the data: this package."""
    return "phantom"
