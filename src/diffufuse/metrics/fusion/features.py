"""Feature mutual information: what a fused image and its sources share in every window of 3x3 pixels."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from diffufuse.metrics.fusion.images import Fusion

SIDE = 3
PIXELS = SIDE**2
# Windows at a time, so that what is computed of them stays in the processor's cache.
BLOCK = 2048
TINY = np.float32(1e-30)


class Patches(NamedTuple):
    """Windows as distributions over their nine pixels, which are counted column by column.

    Attributes:
        share: (9, windows) of the window's sum, after its least level is subtracted; 0 where it is flat.
        centered: the shares less their mean, over the length of this vector.
        deviation: standard deviation of the pixels' numbers under this distribution.
        entropy: of it, nat.
    """

    share: Float32[np.ndarray, "9 window"]
    centered: Float32[np.ndarray, "9 window"]
    deviation: Float32[np.ndarray, " window"]
    entropy: Float32[np.ndarray, " window"]


def fmi(images: Fusion) -> float:
    """Feature mutual information of both sources, averaged over them and over all windows; the feature is the pixel.

    Each window is a distribution over its pixels. The joint distribution of two windows is a mixture of independence
    and of a Fréchet bound, the upper for a positive correlation of the two and the lower for a negative; the weight of
    the bound makes the pixels' numbers correlate as the windows do, and is at most 1. The value is 2 I / (H_A + H_F),
    1 where the windows are equal, and 0 where only one of them is flat.

    Returns:
        0..1, 1 if all three images are equal. It changes if all three are transposed.

    Source:
        Haghighat et al. 2011, doi:10.1016/j.compeleceng.2011.07.012; Haghighat and Razian 2014,
        doi:10.1109/ICAICT.2014.7036000. This is the `FMI_pixel` of tables.
    """
    a, b, fused = (_windows(image) for image in images.rounded)
    values = [(source == fused).all(axis=0).astype(np.float64) for source in (a, b)]
    open_to = [(value == 0) & ~_flat(source) & ~_flat(fused) for value, source in zip(values, (a, b), strict=True)]
    (either,) = np.nonzero(open_to[0] | open_to[1])
    for start in range(0, len(either), BLOCK):
        block = either[start : start + BLOCK]
        of_fused = _patches(fused[:, block])
        for source, value, chosen in zip((a, b), values, open_to, strict=True):
            shared = _shared(_patches(source[:, block]), of_fused)
            value[block] = np.where(chosen[block], shared, value[block])
    return float(values[0].mean() + values[1].mean()) / 2


def _windows(image: UInt8[np.ndarray, "x y"]) -> UInt8[np.ndarray, "9 window"]:
    rows, columns = (side - SIDE + 1 for side in image.shape)
    return np.stack([image[x : x + rows, y : y + columns].ravel() for y in range(SIDE) for x in range(SIDE)])


def _flat(windows: UInt8[np.ndarray, "9 window"]) -> Bool[np.ndarray, " window"]:
    return (windows == windows[0]).all(axis=0)


def _patches(windows: UInt8[np.ndarray, "9 window"]) -> Patches:
    share = windows.astype(np.float32)
    share -= share.min(axis=0)
    share *= 1 / np.maximum(share.sum(axis=0), 1)
    number = np.arange(PIXELS, dtype=np.float32) - PIXELS // 2
    variance = number**2 @ share - (number @ share) ** 2
    entropy = -_dot(share, np.log(np.maximum(share, TINY)))
    centered = share - np.float32(1 / PIXELS)
    centered /= np.sqrt(np.maximum(_dot(centered, centered), TINY))
    return Patches(share, centered, np.sqrt(np.maximum(variance, 0)), entropy)


def _dot(
    one: Float32[np.ndarray, "9 window"], other: Float32[np.ndarray, "9 window"]
) -> Float32[np.ndarray, " window"]:
    return np.einsum("pw,pw->w", one, other)


def _summed(share: Float32[np.ndarray, "9 window"]) -> Float32[np.ndarray, "9 window"]:
    """Distribution functions; a loop over nine rows, as NumPy's `cumsum` does not vectorize over the windows."""
    steps = share.copy()
    for pixel in range(1, PIXELS):
        steps[pixel] += steps[pixel - 1]
    return steps


def _shared(source: Patches, fused: Patches) -> Float[np.ndarray, " window"]:
    """2 I / (H_A + H_F) in every window that is flat in neither; 0 where one has all of its sum in one pixel."""
    correlation = _dot(source.centered, fused.centered)
    # The lower bound of two distributions is the upper one of the first with its pixels in reverse.
    share = np.where(correlation < 0, source.share[::-1], source.share)
    steps, fused_steps = _summed(share), _summed(fused.share)
    reached = np.minimum(steps[:, None], fused_steps)
    most = reached.sum(axis=(0, 1)) - steps.sum(axis=0) * fused_steps.sum(axis=0)
    needed = np.abs(correlation) * source.deviation * fused.deviation
    weight = np.minimum(needed / np.maximum(most, TINY), 1) * (needed > 0)
    joint = _entropy_of_mixture(reached, share, fused.share, weight)
    both = source.entropy + fused.entropy
    return np.clip(2 * (both - joint) / np.maximum(both, TINY), 0, 1)


def _entropy_of_mixture(
    reached: Float32[np.ndarray, "9 9 window"],
    share: Float32[np.ndarray, "9 window"],
    fused_share: Float32[np.ndarray, "9 window"],
    weight: Float32[np.ndarray, " window"],
) -> Float32[np.ndarray, " window"]:
    """Entropy, nat, of a mixture: a bound with the distribution function `reached`, and independence."""
    entropy = np.zeros_like(weight)
    independent = (1 - weight) * fused_share
    row, logarithm, joint = (np.empty_like(fused_share) for _ in range(3))
    least = np.full_like(fused_share, TINY)
    for pixel in range(PIXELS):
        np.subtract(reached[pixel], reached[pixel - 1] if pixel else 0, out=row)
        joint[0] = row[0]
        np.subtract(row[1:], row[:-1], out=joint[1:])
        joint *= weight
        joint += np.multiply(independent, share[pixel], out=row)
        np.maximum(joint, least, out=joint)
        entropy -= _dot(joint, np.log(joint, out=logarithm))
    return entropy
