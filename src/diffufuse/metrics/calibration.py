"""Whether probabilities mean what they say: of the voxels given 0.8, four of five should belong to the region.

Every function takes the probabilities and the reference of the voxels that count, in any shape; `region_of_interest`
says which those are, as most voxels of a patient are background that nobody doubts. A mask may stand for the
probabilities: it is the forecast of one who is always certain. One region is one binary question, so the error is
that of its own probability, not that of the largest class.

ECE, ACE and MCE share bins: B of equal width on 0..1, [left, right), the last one closed. In bin b with n_b of the N
voxels, c_b is the mean probability and o_b the share that belongs to the reference. They are blind to whether
probabilities separate anything: who always says the prevalence is perfectly calibrated. The Brier score and the
negative log-likelihood are proper scores: nothing beats the truth.

NaN is the answer of all where there is neither a reference nor a prediction, that is, a probability of one half.

Source:
    Barfoot et al. 2025, arXiv:2506.03942 (class-wise ECE, ACE, MCE with 20 bins); Mehrtash et al. 2020,
    arXiv:1911.13273 (ECE, Brier, NLL around the structure); Guo et al. 2017, arXiv:1706.04599 (15 bins).
"""

import math

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from diffufuse.types import Mask, Spacing

BINS = 20
NEAR_MM = 10.0
CLIP = 1e-7

Probability = Float[np.ndarray, "*shape"] | Bool[np.ndarray, "*shape"]
Reference = Bool[np.ndarray, "*shape"]


def region_of_interest(
    prediction: Mask, reference: Mask, *, spacing_mm: Spacing, body: Mask | None = None, near_mm: float = NEAR_MM
) -> Mask:
    """The voxels whose centers are at most 10 mm from a voxel of reference or prediction, within the body.

    Args:
        prediction: boolean, 3-D.
        reference: boolean, same shape.
        spacing_mm: distance between neighboring voxels along each array axis.
        body: boolean, same shape; by default everything.
        near_mm: how far is near, Euclidean.

    Returns:
        Boolean, same shape; empty if both masks are.
    """
    either = prediction | reference
    near = np.zeros_like(either)
    if either.any():
        box = _box_around(either, margin=[math.ceil(near_mm / mm) for mm in spacing_mm])
        near[box] = ndimage.distance_transform_edt(~either[box], sampling=spacing_mm) <= near_mm
    return near if body is None else near & body


def ece(probability: Probability, reference: Reference, *, bins: int = BINS) -> float:
    """Expected calibration error: sum_b n_b / N |c_b - o_b|.

    Args:
        probability: 0..1, or a mask.
        reference: boolean, same shape.
        bins: number of bins B; 15 in much of the literature.

    Returns:
        0..1; the error rate if every probability is 0 or 1; NaN without reference and prediction.

    Source:
        Barfoot et al. 2025, arXiv:2506.03942.
    """
    gap, share = _gaps(probability, reference, bins)
    return float((gap * share).sum()) if gap.size else math.nan


def ace(probability: Probability, reference: Reference, *, bins: int = BINS) -> float:
    """Average calibration error: the mean of |c_b - o_b| over the bins that hold a voxel, each counting alike.

    Args:
        probability: 0..1, or a mask.
        reference: boolean, same shape.
        bins: number of bins B.

    Returns:
        0..1; NaN without reference and prediction.

    Source:
        Barfoot et al. 2025, arXiv:2506.03942.
    """
    gap, _ = _gaps(probability, reference, bins)
    return float(gap.mean()) if gap.size else math.nan


def mce(probability: Probability, reference: Reference, *, bins: int = BINS) -> float:
    """Maximum calibration error: the largest |c_b - o_b|, be it of a bin with one voxel.

    Args:
        probability: 0..1, or a mask.
        reference: boolean, same shape.
        bins: number of bins B.

    Returns:
        0..1; NaN without reference and prediction.

    Source:
        Barfoot et al. 2025, arXiv:2506.03942.
    """
    gap, _ = _gaps(probability, reference, bins)
    return float(gap.max()) if gap.size else math.nan


def brier(probability: Probability, reference: Reference) -> float:
    """Brier score: the mean of (p - y)².

    Args:
        probability: p in 0..1, or a mask.
        reference: y, boolean, same shape.

    Returns:
        0..1; NaN without reference and prediction.

    Source:
        Brier 1950, Monthly Weather Review 78:1; Mehrtash et al. 2020, arXiv:1911.13273.
    """
    if not _anything(probability, reference):
        return math.nan
    return float(np.square(np.asarray(probability, np.float64) - reference).mean())


def nll(probability: Probability, reference: Reference) -> float:
    """Negative log-likelihood: the mean of -ln of the probability that was given to what is true.

    Args:
        probability: p in 0..1, or a mask; a certainty beyond 1e-7 counts as 1e-7.
        reference: boolean, same shape.

    Returns:
        0..16.1 nats; NaN without reference and prediction.

    Source:
        Mehrtash et al. 2020, arXiv:1911.13273.
    """
    if not _anything(probability, reference):
        return math.nan
    given = np.clip(np.asarray(probability, np.float64), CLIP, 1 - CLIP)
    return float(-np.log(np.where(reference, given, 1 - given)).mean())


def prevalence(probability: Probability, reference: Reference) -> float:
    """Share of the voxels that belong to the reference, from which the scores of a constant forecast follow.

    Args:
        probability: 0..1, or a mask; decides only whether there is anything to answer.
        reference: boolean, same shape.

    Returns:
        0..1; NaN without reference and prediction.
    """
    return float(reference.mean()) if _anything(probability, reference) else math.nan


def _anything(probability: Probability, reference: Reference) -> bool:
    return bool(reference.any() or (probability >= 0.5).any())


def _gaps(probability: Probability, reference: Reference, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """|c_b - o_b| and n_b / N of every bin that holds a voxel."""
    if not _anything(probability, reference):
        return np.empty(0), np.empty(0)
    said = np.asarray(probability, np.float64).ravel()
    place = np.minimum((said * bins).astype(np.intp), bins - 1)
    count, sum_said, sum_true = (np.bincount(place, weights=w, minlength=bins) for w in (None, said, reference.ravel()))
    held = count > 0
    return np.abs(sum_said - sum_true)[held] / count[held], count[held] / said.size


def _box_around(mask: Mask, *, margin: list[int]) -> tuple[slice, ...]:
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    return tuple(slice(max(part.start - more, 0), part.stop + more) for part, more in zip(box, margin, strict=True))
