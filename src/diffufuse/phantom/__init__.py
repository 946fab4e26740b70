"""A cohort of made-up patients with a sarcoma of the thigh, written as DICOM, for which the truth is known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.phantom.hospital import write_phantom_cohort, write_phantom_patient

__all__ = ["fetch", "write_phantom_cohort", "write_phantom_patient"]


def fetch(raw: Path, source: Mapping[str, Any], *, study_seed: int) -> None:
    """Write the patients into the raw folder, and the truth into its neighbor `{raw}_truth`.

    Args:
        raw: the raw folder.
        source: `patients` says how many.
        study_seed: the study's one seed.
    """
    write_phantom_cohort(raw, raw.with_name(f"{raw.name}_truth"), patients=source["patients"], study_seed=study_seed)
