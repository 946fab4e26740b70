"""The made-up cohort, for which nothing is downloaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.fetch.extent import Extent


def fetch(raw: Path, source: Mapping[str, Any], *, study_seed: int) -> None:
    """Write the patients into the raw folder, and the truth into its neighbor `{raw}_truth`.

    Args:
        raw: the raw folder.
        source: `patients` says how many.
        study_seed: the study's one seed.
    """
    from diffufuse.phantom import write_phantom_cohort

    write_phantom_cohort(raw, raw.with_name(f"{raw.name}_truth"), patients=source["patients"], study_seed=study_seed)


def extent(source: Mapping[str, Any]) -> Extent:
    """How many patients are made."""
    return Extent(cases=source["patients"], bytes=0)


def address(source: Mapping[str, Any]) -> str:
    """Where the data comes from: this package."""
    return "phantom"
