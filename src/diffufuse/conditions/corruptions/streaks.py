"""Streaks in CT."""

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
    """Let rays through a piece of metal be measured wrong, inside the body.

    Metal swallows nearly all photons of the rays that pass it, and what is counted on them is noise. Filtered
    backprojection draws every ray as a line through the whole slice: if one is too high by itself, a bright line with
    dark sides, h(u) = (1 - u^2) / (1 + u^2)^2 at a distance of u widths, which is the ramp filter's response (with an
    exponential window) and adds nothing on the whole. Here a thin rod lies along z through one voxel of the body, drawn
    once. In each slice as many rays as told go through it, at angles drawn evenly and with errors drawn from a normal
    distribution; the star they make fades with the distance from the rod. The rod itself is not drawn.

    Args:
        image: (X, Y, Z) in HU.
        inside: (X, Y, Z) body and field of view; voxels elsewhere stay as they are.
        settings: `amplitude_hu`, standard deviation of a streak's height, >= 0; `streaks`, how many a slice has, >= 1.
        spacing_mm: voxel size; a streak is 3 mm wide, or a voxel where that is wider.
        generator: the only source of randomness.

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
    drawn = (image.shape[2], int(settings["streaks"]))
    angles = generator.uniform(0, np.pi, drawn)
    heights_hu = settings["amplitude_hu"] * generator.standard_normal(drawn)
    for level in range(image.shape[2]):
        x, y = np.nonzero(inside[..., level])
        away_mm = (x - rod[0]) * spacing_mm[0], (y - rod[1]) * spacing_mm[1]
        star = np.zeros(len(x))
        for angle, height_hu in zip(angles[level], heights_hu[level], strict=True):
            distance_mm = away_mm[0] * np.sin(angle) - away_mm[1] * np.cos(angle)
            star += height_hu * _response(distance_mm / max(WIDTH_MM, *spacing_mm[:2]))
        values = image[x, y, level]
        streaked[x, y, level] = np.maximum(values + star, np.minimum(values, LOWEST_HU))
    return streaked


def _response(widths: np.ndarray) -> np.ndarray:
    """What a line's height becomes at a distance from it: 1 on the line, below 0 beyond one width, 0 on the whole."""
    square = widths**2
    return (1 - square) / (1 + square) ** 2
