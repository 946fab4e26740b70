"""Write pictures as PNG. What writes them need not know how the many kinds of files are read."""

import os

import numpy as np
from jaxtyping import Float
from PIL import Image

from diffufuse.files.atomic import atomic_path


def write_picture(picture: Float[np.ndarray, "*shape"], path: str | os.PathLike[str]) -> None:
    """Write a picture as a PNG of 8 bits, atomically; a level is rounded to the nearest of 255, half to even.

    Args:
        picture: (rows, columns) gray, or (rows, columns, 3) red, green and blue; what lies outside 0..1 is clipped.
        path: ends in `.png`.

    Raises:
        ValueError: a value is not finite, or the shape is another one.
    """
    if not np.isfinite(picture).all():
        raise ValueError(f"{path}: expected finite gray levels")
    if picture.ndim != 2 and picture.shape[2:] != (3,):
        raise ValueError(f"{path}: expected (rows, columns) or (rows, columns, 3), got {picture.shape}")
    levels = np.rint(np.clip(picture.astype(np.float64), 0, 1) * 255).astype(np.uint8)
    with atomic_path(path) as partial:
        Image.fromarray(levels).save(partial, format="PNG")
