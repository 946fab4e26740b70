"""Names for arrays, with their shapes.

Spatial axes are always x, y, z of a right-anterior-superior (RAS) frame; z is the axis of axial slices.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

Image: TypeAlias = Float32[np.ndarray, "x y z"]
Labels: TypeAlias = UInt8[np.ndarray, "x y z"]
Mask: TypeAlias = Bool[np.ndarray, "x y z"]
Affine: TypeAlias = Float[np.ndarray, "4 4"]
Spacing: TypeAlias = tuple[float, float, float]
