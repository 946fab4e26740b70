"""Intensity statistics of an image inside the body."""

import numpy as np
from jaxtyping import Bool, Float


def intensity_statistics(image: Float[np.ndarray, "..."], inside: Bool[np.ndarray, "..."]) -> dict[str, float]:
    """Return mean and standard deviation of an image inside the body and field of view.

    Args:
        image: values in physical units.
        inside: body and field of view.

    Returns:
        `mean` and `sd` in the image's unit; 0 and 1 where the mask is empty.
    """
    values = image[inside].astype(np.float64)
    if values.size == 0:
        return {"mean": 0.0, "sd": 1.0}
    return {"mean": float(values.mean()), "sd": float(values.std())}
