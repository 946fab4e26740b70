"""Metal streak artifacts in CT."""

from collections.abc import Mapping

import numpy as np

from diffufuse.types import Image, Mask, Spacing

WIDTH_MM = 3.0
LOWEST_HU = -1024.0


def streaks(
    image: Image,
    inside: Mask,
    *,
    settings: Mapping[str, float],
    spacing_mm: Spacing,
    generator: np.random.Generator,
) -> Image:
    """Add streaks of rays through a metal rod, inside the body.

    Metal absorbs nearly all photons of a ray (photon starvation), so that its measurement is noise. Filtered
    back-projection turns an error of one ray into a line with overshoot, h(u) = (1 - u^2) / (1 + u^2)^2 at a distance
    of u widths, the response of the ramp filter (with an exponential window), with integral 0. A thin rod lies along z
    through a random voxel of the body. In each slice `streaks` rays cross it, with uniform random angles and normal
    random errors. The rod itself is not added.

    Args:
        image: (X, Y, Z) in HU.
        inside: (X, Y, Z) body and field of view; other voxels are unchanged.
        settings: `amplitude_hu`, standard deviation of a streak's height, >= 0; `streaks`, number per slice, >= 1.
        spacing_mm: voxel size; a streak is 3 mm wide, or a voxel where that is wider.
        generator: random number generator.

    Returns:
        The image with streaks, float32, nowhere pushed below -1024 HU; equal to `image` for amplitude 0 or where
        nothing is inside.

    Source:
        Barrett and Keat 2004, Artifacts in CT: recognition and avoidance, doi:10.1148/rg.246045065; for the response of
        a single ray, Kak and Slaney 1988, Principles of computerized tomographic imaging, chapter 3.
    """
    streaked = image.copy()
    if not inside.any() or not settings["amplitude_hu"]:
        return streaked
    within = np.flatnonzero(inside)
    rod = np.unravel_index(within[generator.integers(within.size)], inside.shape)
    shape = (image.shape[2], int(settings["streaks"]))
    angles = generator.uniform(0, np.pi, shape)
    heights_hu = settings["amplitude_hu"] * generator.standard_normal(shape)
    for z in range(image.shape[2]):
        x, y = np.nonzero(inside[..., z])
        offset_mm = (x - rod[0]) * spacing_mm[0], (y - rod[1]) * spacing_mm[1]
        error_hu = np.zeros(len(x))
        for angle, height_hu in zip(angles[z], heights_hu[z], strict=True):
            distance_mm = offset_mm[0] * np.sin(angle) - offset_mm[1] * np.cos(angle)
            error_hu += height_hu * _response(distance_mm / max(WIDTH_MM, *spacing_mm[:2]))
        values = image[x, y, z]
        streaked[x, y, z] = np.maximum(values + error_hu, np.minimum(values, LOWEST_HU))
    return streaked


def _response(widths: np.ndarray) -> np.ndarray:
    """Return the line response at a distance in widths: 1 on the line, negative beyond one width, integral 0."""
    square = widths**2
    return (1 - square) / (1 + square) ** 2
