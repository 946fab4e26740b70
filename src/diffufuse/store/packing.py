"""Encode a case with 16 bits per voxel: quantized images, and all masks in one bit field."""

import os
from collections.abc import Sequence

import numpy as np

from diffufuse.errors import BadInput

MOST_STEPS = 32_767
WHOLE = 1.0
CENTRAL_PERCENT, FEWEST_CENTRAL_STEPS, SAMPLED = (1, 99), 100, 1_000_000
LABEL_BITS, BODY_BIT, FIRST_PRESENCE_BIT = 0xFF, 8, 9
MOST_MODALITIES = 16 - FIRST_PRESENCE_BIT


def step_of(image: np.ndarray) -> float:
    """Return the quantization step with which every value fits a signed 16-bit integer; 0 stays 0.

    Args:
        image: finite values in physical units.

    Returns:
        A float32 in the image's unit: 1 for whole numbers within 32,767 of 0, else the largest magnitude divided by
        32,767.
    """
    largest = float(np.abs(image).max())
    if largest <= MOST_STEPS and np.array_equal(image, np.rint(image)):
        return WHOLE
    return float(np.nextafter(np.float32(largest / MOST_STEPS), np.float32(np.inf)))


def encode(image: np.ndarray, step: float, codes: np.ndarray) -> None:
    """Quantize an image, (X, Y, Z), into codes, (Z, X, Y) int16, in double precision."""
    for z, plane in enumerate(codes):
        plane[...] = np.rint(image[..., z].astype(np.float64) / step)


def decode(codes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the values of codes, float32, with an error of at most half a step; 0 is exact.

    Args:
        codes: (M, Z, X, Y) int16.
        steps: (M,) float32.
    """
    values = codes.astype(np.float32)
    if (steps != WHOLE).any():
        values *= steps[:, None, None, None]
    return values


def require_finite(image: np.ndarray, path: str | os.PathLike[str], name: str) -> None:
    """Raise if an image has NaN or infinite values.

    Raises:
        BadInput: it has; the message names the file to be written.
    """
    broken = image.size - np.count_nonzero(np.isfinite(image))
    if broken:
        raise BadInput(f"{path}: expected finite values of {name}, got {broken} that are not; repair or exclude it.")


def require_fine_steps(values: np.ndarray, step: float, path: str | os.PathLike[str], name: str) -> None:
    """Raise if outliers make the quantization too coarse for the other values.

    Raises:
        BadInput: 98 % of the values span fewer than 100 steps; the message names the file to be written.
    """
    if step == WHOLE or not values.size:
        return
    low, high = np.percentile(values[:: max(1, values.size // SAMPLED)], CENTRAL_PERCENT)
    if 0 < high - low < step * FEWEST_CENTRAL_STEPS:
        raise BadInput(
            f"{path}: expected values of {name} that fill their range, got {values.min():g} to {values.max():g} while "
            f"98 % lie in {low:g} to {high:g}; mend the few that lie far out, or exclude the image."
        )


def pack_masks(presence: Sequence[np.ndarray], body: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Pack labels (low eight bits), body, and the presence of each modality into int16.

    Raises:
        ValueError: there are more modalities than bits, or a label does not fit into its eight.
    """
    if len(presence) > MOST_MODALITIES:
        raise ValueError(f"presence: expected at most {MOST_MODALITIES} modalities, got {len(presence)}")
    if labels.dtype != np.uint8:
        raise ValueError(f"labels: expected uint8, got {labels.dtype}")
    packed = labels.astype(np.uint16) | body.astype(np.uint16) << BODY_BIT
    for m, present in enumerate(presence):
        packed |= present.astype(np.uint16) << (FIRST_PRESENCE_BIT + m)
    return packed.view(np.int16)


def labels_of(masks: np.ndarray) -> np.ndarray:
    """Return the labels of packed masks, uint8."""
    return (masks & LABEL_BITS).astype(np.uint8)


def body_of(masks: np.ndarray) -> np.ndarray:
    """Return the body of packed masks, boolean."""
    return (masks >> BODY_BIT & 1).astype(bool)


def presence_of(masks: np.ndarray, modalities: int) -> np.ndarray:
    """Return the presence of packed masks, (M, ...) boolean."""
    return np.stack([(masks >> (FIRST_PRESENCE_BIT + m) & 1).astype(bool) for m in range(modalities)])
