"""The synthetic cohort, generated without a download."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.fetch.extent import Extent


def fetch(raw: Path, source: Mapping[str, Any], *, study_seed: int) -> None:
    """Generate the patients or the pairs in the raw folder, and the ground truth in `{raw}_truth` beside it.

    Args:
        raw: the raw folder.
        source: `patients`, their number, or `pairs`, that of pairs of pictures.
        study_seed: seed of the study.
    """
    truth = raw.with_name(f"{raw.name}_truth")
    if "pairs" in source:
        from diffufuse.phantom.pairs import write_phantom_pairs

        write_phantom_pairs(raw, truth, pairs=source["pairs"], study_seed=study_seed)
        return
    from diffufuse.phantom import write_phantom_cohort

    write_phantom_cohort(raw, truth, patients=source["patients"], study_seed=study_seed)


def extent(source: Mapping[str, Any]) -> Extent:
    """Number of patients or pairs."""
    return Extent(cases=source.get("patients", source.get("pairs")), bytes=0)


def address(source: Mapping[str, Any]) -> str:
    """Source of the data: this package."""
    return "phantom"
