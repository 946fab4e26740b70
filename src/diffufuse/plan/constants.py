"""Normalization constants of each modality, fitted on the training cases of a fold alone."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from diffufuse.store.case import PreparedCase

VOXELS_PER_CASE = 20_000


def split_sha256(training_cases: Sequence[str]) -> str:
    """Fingerprint of a split: of the names of its training cases, in any order."""
    return hashlib.sha256("\n".join(sorted(training_cases)).encode()).hexdigest()


def fit_constants(cases: Iterable[PreparedCase], *, modalities: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Mean, standard deviation and clipping range of every modality with the normalization `cohort`.

    Each case contributes up to 20,000 voxels of its body at even steps, where the modality was acquired.

    Args:
        cases: the training cases of a fold.
        modalities: name to its block of `config/datasets.yaml`; those with the method `cohort` are measured. Their
            `clip` is a pair of percentiles; without it, nothing is clipped.

    Returns:
        A record: `split_sha256`, and `modalities`, name to `mean` and `sd` before clipping, `low`, `high` (in the
        image's unit) and the number of `cases` that have it; None where no case has it or nothing is clipped.

    Source:
        The scheme of nnU-Net for CT: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.
    """
    settings = {name: block["normalization"] for name, block in modalities.items()}
    measured_names = [name for name in settings if settings[name]["method"] == "cohort"]
    samples: dict[str, list[np.ndarray]] = {name: [] for name in measured_names}
    names = []
    for case in cases:
        names.append(case.name)
        scan = case.scan if measured_names else None
        for channel, modality in enumerate(case.slices.modalities):
            if scan is not None and modality in samples:
                samples[modality].append(_sampled(scan.images[channel][scan.presence[channel] & scan.body]))
    measured = {
        name: _measured([part for part in parts if part.size], clip=settings[name].get("clip"))
        for name, parts in samples.items()
    }
    return {"split_sha256": split_sha256(names), "modalities": measured}


def with_constants(
    modalities: Mapping[str, Mapping[str, Any]], constants: Mapping[str, Any], *, training_cases: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The modalities' blocks with their constants, as `normalization.normalize` reads them.

    Args:
        modalities: name to its block of `config/datasets.yaml`.
        constants: from `fit_constants`.
        training_cases: of the fold that is trained.

    Raises:
        ValueError: the constants are those of another split.
    """
    if constants["split_sha256"] != split_sha256(training_cases):
        raise ValueError("constants: expected those of the training cases at hand, got those of another split")
    return {
        name: {**block, "normalization": {**block["normalization"], **constants["modalities"].get(name, {})}}
        for name, block in modalities.items()
    }


def _sampled(values: np.ndarray) -> np.ndarray:
    return values[:: max(1, values.size // VOXELS_PER_CASE)]


def _measured(parts: Sequence[np.ndarray], *, clip: Sequence[float] | None) -> dict[str, float | int | None]:
    if not parts:
        return {"cases": 0, "mean": None, "sd": None, "low": None, "high": None}
    values = np.concatenate(parts).astype(np.float64)
    low, high = (float(value) for value in np.percentile(values, clip)) if clip else (None, None)
    return {
        "cases": len(parts),
        "mean": float(values.mean()),
        "sd": float(values.std()),
        "low": low,
        "high": high,
    }
