"""Color as luma and chroma: ITU-R BT.601, full range, in floating point.

The one place where color is taken apart and put together: Y = 0.299 R + 0.587 G + 0.114 B, Cb = (B - Y) / 1.772 and
Cr = (R - Y) / 1.402, with R, G, B and Y in 0..1 and chroma centered on 0, in -0.5..0.5. Nothing is rounded on the way,
so that 8-bit colors come back as they were.
"""

import numpy as np
from jaxtyping import Float

RED, GREEN, BLUE = 0.299, 0.587, 0.114
BLUE_RANGE, RED_RANGE = 2 * (1 - BLUE), 2 * (1 - RED)


def luma_and_chroma(
    rgb: Float[np.ndarray, "*shape 3"],
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """Take a color picture apart.

    Args:
        rgb: red, green and blue in 0..1.

    Returns:
        Luma Y in 0..1, and the chroma Cb and Cr in -0.5..0.5, 0 for gray; float64.
    """
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    luma = RED * red + GREEN * green + BLUE * blue
    return luma, (blue - luma) / BLUE_RANGE, (red - luma) / RED_RANGE


def recombined(
    luma: Float[np.ndarray, "*shape"], cb: Float[np.ndarray, "*shape"], cr: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape 3"]:
    """Put a color picture together, the inverse of `luma_and_chroma`.

    The luma of a fused image need not fit the chroma of a source: what lies outside 0..1 then is clipped, channel by
    channel, as a file of gray levels can hold nothing else. The luma of a clipped pixel is not the fused one.

    Args:
        luma: in 0..1.
        cb: blue chroma, in -0.5..0.5.
        cr: red chroma, in -0.5..0.5.

    Returns:
        Red, green and blue in 0..1, float64.
    """
    y = luma.astype(np.float64)
    red, blue = y + RED_RANGE * cr, y + BLUE_RANGE * cb
    green = (y - RED * red - BLUE * blue) / GREEN
    return np.clip(np.stack([red, green, blue], axis=-1), 0, 1)
