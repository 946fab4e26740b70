"""Affines from voxel index to patient coordinates: how far two lie apart, and the one of a quaternion."""

import math
from collections.abc import Sequence

import nibabel as nib
import numpy as np

from diffufuse.types import Affine

ORTHONORMAL_TOLERANCE = 1e-3
GRID_TOLERANCE_MM = 1e-2
# Squares of the quaternion's components are rounded in single precision, so the square of the omitted one may be off
# by this much.
OMITTED_SQUARE_ERROR = 3 * float(np.finfo(np.float32).eps)
NO_SQUARE = 1e-7  # below it the omitted component is 0, as in the library of the standard


def farthest_mm(shape: Sequence[int], first: Affine, second: Affine) -> float:
    """The largest distance along a coordinate axis between the places that two affines give a corner voxel, mm."""
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    corners[:, :3] *= np.array(shape) - 1
    return float(np.abs((corners @ first.T - corners @ second.T)[:, :3]).max())


def of_quaternion(vector: Sequence[float], spacing_mm: Sequence[float], origin_mm: Sequence[float]) -> Affine:
    """The affine of a rotation, spacing and origin.

    Args:
        vector: b, c, d of the unit quaternion a + bi + cj + dk with a >= 0; a norm above 1 is scaled to 1, as the
            library of the standard does.
        spacing_mm: along each axis; negative where the axis is flipped.
        origin_mm: place of the first voxel.
    """
    affine = np.eye(4)
    affine[:3, :3] = nib.quaternions.quat2mat([_omitted(vector), *map(float, vector)]) * np.array(spacing_mm, float)
    affine[:3, 3] = origin_mm
    return affine


def quaternion_error(vector: Sequence[float]) -> float:
    """How far the rotation of a quaternion may be off because its components were rounded, radians.

    It is large near half a turn, where the omitted component is small: up to 0.0012.
    """
    square, scalar = max(_omitted_square(vector), 0.0), _omitted(vector)
    most, least = math.sqrt(square + OMITTED_SQUARE_ERROR), math.sqrt(max(square - OMITTED_SQUARE_ERROR, 0.0))
    return 2 * max(most - scalar, scalar - least)


def _omitted(vector: Sequence[float]) -> float:
    """The component of a unit quaternion that a header omits."""
    square = _omitted_square(vector)
    return 0.0 if square < NO_SQUARE else math.sqrt(square)


def _omitted_square(vector: Sequence[float]) -> float:
    components = np.array(vector, float)
    return 1.0 - float(components @ components)
