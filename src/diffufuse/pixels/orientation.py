"""How a picture lies in a stored case: upright where pictures of cases are drawn.

Axes of a stored case are x, y, z of a right-anterior-superior frame, drawn with the front up and the patient's right on
the left. So x counts columns from the right edge of a picture, y counts rows from the bottom, and z is one slice.
"""

import numpy as np


def as_slice(picture: np.ndarray) -> np.ndarray:
    """A picture (rows, columns), first row on top, as a volume of one slice, (X, Y, 1)."""
    return picture[::-1, ::-1].T[..., None]


def as_picture(plane: np.ndarray) -> np.ndarray:
    """A slice (X, Y) of a stored case as a picture (rows, columns), first row on top; the inverse of `as_slice`."""
    return plane.T[::-1, ::-1]
