"""Information in counts of gray levels: of the fused image alone, and what it shares with its sources.

The 256 bins are those of an 8-bit file: each value is rounded to the nearest gray level.
"""

import math

import numpy as np
from jaxtyping import Int

from diffufuse.metrics.fusion.images import GRAY_LEVELS, Fusion


def en(images: Fusion) -> float:
    """Entropy of the fused image's gray levels: -Σ p log2 p over 256 bins.

    Returns:
        0..8 bit; 0 for a constant image. Slices that are mostly black lie near 4.

    Source:
        Shannon 1948, doi:10.1002/j.1538-7305.1948.tb01338.x; Roberts et al. 2008, doi:10.1117/1.2945910.
    """
    return _entropy_nats(np.bincount(images.rounded[2].ravel())) / math.log(2)


def mi(images: Fusion) -> float:
    """Mutual information of the fused image with each source, summed: I(A; F) + I(B; F).

    Returns:
        0..2 ln 256 nat; 2 H(A) if all three images are equal.

    Source:
        Qu et al. 2002, doi:10.1049/el:20020212; natural logarithm, as scikit-learn's `mutual_info_score`.
    """
    fused = images.rounded[2].astype(np.intp)
    of_fused = _entropy_nats(np.bincount(fused.ravel()))
    total = 0.0
    for source in images.rounded[:2]:
        of_both = _entropy_nats(np.bincount((GRAY_LEVELS * source.astype(np.intp) + fused).ravel()))
        total += max(_entropy_nats(np.bincount(source.ravel())) + of_fused - of_both, 0.0)
    return total


def mi_bits(images: Fusion) -> float:
    """The same in bits, 1.4427 times as many.

    Returns:
        0..16 bit.

    Source:
        The evaluators of VIFB and of Tang et al.
    """
    return mi(images) / math.log(2)


def _entropy_nats(count: Int[np.ndarray, " bin"]) -> float:
    share = count[count > 0] / count.sum()
    return max(0.0, float(-(share @ np.log(share))))
