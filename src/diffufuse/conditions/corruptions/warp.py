"""Misalignment by a smooth displacement."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from diffufuse.types import Image, Mask, Spacing

# Distance of the nodes of the bend: with a bend of 8 mm the displacement changes by at most a quarter mm per mm or so.
NODES_MM = 32.0


def warp(
    image: Image,
    inside: Mask,
    *,
    settings: Mapping[str, float],
    spacing_mm: Spacing,
    generator: np.random.Generator,
) -> Image:
    """Move an image in the axial plane by an unknown rotation, translation and bend, inside the body.

    Two modalities are acquired one after the other, or by two devices, and what is left of the motion between them is
    smooth. All slices are moved alike. A voxel takes its value from x + d(x), d from `displacement_mm`, linear between
    voxels; beyond the image its border goes on. Of a set of pictures, whose pixels have no size, one pixel counts as
    one millimeter.

    Args:
        image: (X, Y, Z) in physical units.
        inside: (X, Y, Z) body and field of view; other voxels are unchanged.
        settings: `degrees`, `translation_mm` and `bend_mm`, as for `displacement_mm`.
        spacing_mm: voxel size.
        generator: random number generator.

    Returns:
        The moved image, float32; equal to `image` if all three settings are 0 or nothing is inside.
    """
    from scipy.ndimage import map_coordinates  # imported here, as it loads slowly

    field = displacement_mm(
        image.shape[:2],
        degrees=settings["degrees"],
        translation_mm=settings["translation_mm"],
        bend_mm=settings["bend_mm"],
        spacing_mm=spacing_mm,
        generator=generator,
    )
    places = np.indices(image.shape[:2]) + field / np.reshape(spacing_mm[:2], (2, 1, 1))
    moved = [map_coordinates(plane, places, order=1, mode="nearest") for plane in np.moveaxis(image, 2, 0)]
    return np.where(inside, np.stack(moved, axis=2), image).astype(np.float32)


def displacement_mm(
    plane: tuple[int, ...],
    *,
    degrees: float,
    translation_mm: float,
    bend_mm: float,
    spacing_mm: tuple[float, ...],
    generator: np.random.Generator,
) -> Float[np.ndarray, "2 x y"]:
    """Draw a smooth displacement: a rotation about the middle of the plane, a translation, and a bend.

    Args:
        plane: (X, Y) in voxels.
        degrees: largest angle of the rotation.
        translation_mm: largest translation along each axis.
        bend_mm: largest displacement along each axis by a uniform cubic B-spline, whose nodes are 32 mm apart; its mean
            magnitude is a third of it.
        spacing_mm: voxel size along x and y at least.
        generator: the only source of randomness; it is used alike for any settings.

    Returns:
        The displacement along x and y of every voxel, in mm.
    """
    angle = np.radians(degrees) * generator.uniform(-1, 1)
    translation = translation_mm * generator.uniform(-1, 1, 2)
    x, y = (np.arange(voxels) * mm for voxels, mm in zip(plane, spacing_mm[:2], strict=True))
    along_x, along_y = (_spline_weights(axis, generator) for axis in (x, y))
    nodes = bend_mm * generator.uniform(-1, 1, (2, along_x.shape[1], along_y.shape[1]))
    bend = np.einsum("xi,aij,yj->axy", along_x, nodes, along_y, optimize=True)
    from_middle = np.stack(np.meshgrid(x - x.mean(), y - y.mean(), indexing="ij"))
    turn = np.array([[np.cos(angle) - 1, -np.sin(angle)], [np.sin(angle), np.cos(angle) - 1]])
    return np.einsum("ab,bxy->axy", turn, from_middle) + translation[:, None, None] + bend


def _spline_weights(places_mm: Float[np.ndarray, " voxel"], generator: np.random.Generator) -> np.ndarray:
    """Weights (voxels, nodes) of the cubic B-spline whose grid of nodes begins at a random place before the first."""
    position = places_mm / NODES_MM + generator.uniform(0, 1)
    nodes = np.arange(-1, int(position.max()) + 3)
    distance = np.abs(position[:, None] - nodes)
    near, far = 2 / 3 - distance**2 + distance**3 / 2, (2 - distance) ** 3 / 6
    return np.select([distance < 1, distance < 2], [near, far], 0.0)
