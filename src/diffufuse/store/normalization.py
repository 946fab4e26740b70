"""Intensity normalization of images in physical units."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from diffufuse.errors import BadInput
from diffufuse.store.intensity import intensity_statistics
from diffufuse.store.scan import Scan

LOG_CEILING_SUV = 50.0
Z_LIMIT = 6.0


def normalize(
    image: Float[np.ndarray, "..."],
    present: Bool[np.ndarray, "..."],
    *,
    settings: Mapping[str, Any],
    statistics: Mapping[str, float],
) -> Float[np.ndarray, "..."]:
    """Normalize an image; voxels outside the field of view become exactly 0.

    Args:
        image: values in physical units (HU, SUV, MR intensity).
        present: where the modality was acquired.
        settings: `method` is `zscore`, `cohort` (with `mean`, `sd` and, if it is clipped, `low` and `high` of the
            training patients, from `constants.fit_constants`), `window` (with `low` and `high` in the image's unit,
            mapped to -1..1), `log` (log(1 + SUV), for PET) or `display` (gray levels, `black` mapped to 0 and `white`,
            or the mean plus `white_sd` standard deviations, to 1; clipped to 0..1).
        statistics: `mean` and `sd` inside the body, of the same image; used by `zscore` and `white_sd` only.

    Returns:
        float32 of the same shape.

    Raises:
        BadInput: the image is constant inside the body (`zscore`), or the cohort's constants are missing.
        ValueError: the method is unknown.
    """
    method = settings["method"]
    if method == "window":
        low, high = settings["low"], settings["high"]
        scaled = (np.clip(image, low, high) - low) / (high - low) * 2 - 1
    elif method == "display":
        scaled = _displayed(image, settings, statistics)
    elif method == "log":
        scaled = np.log1p(np.clip(image, 0, LOG_CEILING_SUV))
    elif method == "cohort":
        if not settings.get("sd"):
            raise BadInput(
                "expected the training patients' constants to normalize by, but none of them has this modality; choose "
                "another normalization or other folds."
            )
        clipped = image if settings["low"] is None else np.clip(image, settings["low"], settings["high"])
        scaled = (clipped - settings["mean"]) / settings["sd"]
    elif method == "zscore":
        if not statistics["sd"] > 0:
            raise BadInput(
                "expected values that vary inside the body, but the image is constant there; exclude it, or choose "
                "another normalization."
            )
        scaled = np.clip((image - statistics["mean"]) / statistics["sd"], -Z_LIMIT, Z_LIMIT)
    else:
        raise ValueError(f"method: expected zscore, cohort, window, log or display, got {method!r}")
    return np.where(present, scaled, 0).astype(np.float32)


def _displayed(image: np.ndarray, settings: Mapping[str, Any], statistics: Mapping[str, float]) -> np.ndarray:
    black = settings["black"]
    white = settings["white"] if "white" in settings else statistics["mean"] + settings["white_sd"] * statistics["sd"]
    if not white > black:
        raise BadInput(
            f"expected an image that is brighter than {black:g} inside the body, but its white is {white:g}; exclude "
            "it, or correct `display`."
        )
    return np.clip((image - black) / (white - black), 0, 1)


def normalize_all(
    images: np.ndarray,
    presence: np.ndarray,
    *,
    modalities: Mapping[str, Mapping[str, Any]],
    statistics: Mapping[str, Mapping[str, float]],
) -> np.ndarray:
    """Normalize all images of a stack, each by the settings of its modality.

    Args:
        images: (M, ...) in physical units, in the order of `modalities`.
        presence: (M, ...) boolean.
        modalities: name to its block of `config/datasets.yaml`.
        statistics: name to `mean` and `sd` of the whole image inside the body.

    Returns:
        (M, ...) float32, 0 where absent.

    Raises:
        BadInput: an image cannot be normalized; the message names its modality.
    """
    parts = []
    for image, present, (name, block) in zip(images, presence, modalities.items(), strict=True):
        if not present.any():
            parts.append(np.zeros_like(image))
            continue
        try:
            parts.append(normalize(image, present, settings=block["normalization"], statistics=statistics[name]))
        except BadInput as error:
            raise BadInput(f"{name}: {error}") from error
    return np.stack(parts)


def normalized(scan: Scan, *, modalities: Mapping[str, Mapping[str, Any]]) -> Scan:
    """The scan as a network reads it; z-scores are by its own mean and standard deviation in the body.

    Args:
        scan: in physical units.
        modalities: name to its block of `config/datasets.yaml`, in channel order; `normalization` is read.
    """
    statistics = {
        name: intensity_statistics(image, scan.body & present)
        for name, image, present in zip(modalities, scan.images, scan.presence, strict=True)
    }
    images = normalize_all(scan.images, scan.presence, modalities=modalities, statistics=statistics)
    return Scan(images, scan.presence, scan.body)
