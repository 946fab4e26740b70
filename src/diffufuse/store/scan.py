"""The images of a case in memory."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from diffufuse.types import Mask


@dataclass(frozen=True)
class Scan:
    """All modalities of a case on one grid; `presence` marks absent voxels, not the image value.

    Attributes:
        images: (M, X, Y, Z) in physical units, 0 where absent.
        presence: (M, X, Y, Z) boolean, where each modality was acquired.
        body: (X, Y, Z) boolean.
    """

    images: Float32[np.ndarray, "m x y z"]
    presence: Bool[np.ndarray, "m x y z"]
    body: Mask
