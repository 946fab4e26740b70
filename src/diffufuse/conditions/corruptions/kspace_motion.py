"""Motion during an MR acquisition."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from diffufuse.types import Image, Mask, Spacing

JITTER = 0.3  # of the time between two movements, as in TorchIO's RandomMotion


def kspace_motion(
    image: Image,
    inside: Mask,
    *,
    settings: Mapping[str, float],
    spacing_mm: Spacing,
    generator: np.random.Generator,
) -> Image:
    """Simulate rigid patient motion during an MR acquisition, inside the body.

    k-space is acquired line by line. If the body moves between lines, the image combines lines of several poses, which
    causes ghosts and ripples along the phase-encoding axis, and little blur. That axis is y, as usual for axial slices.
    The motion is rigid about the center of the image, with a constant pose between movements; the center of k-space,
    and thus the contrast, is acquired in the original pose. A single slice moves in its plane only.

    Args:
        image: (X, Y, Z) MR intensity, a whole volume; it is padded with its lowest value.
        inside: (X, Y, Z) body and field of view; other voxels are unchanged.
        settings: `degrees` and `translation_mm`, largest rotation about and translation along each axis, >= 0;
            `movements`, number of pose changes, >= 1.
        spacing_mm: voxel size.
        generator: random number generator.

    Returns:
        The image with motion, float32, >= 0; equal to `image` if neither rotation nor translation is allowed or
        nothing is inside.

    Source:
        Shaw et al. 2019, MRI k-space motion artefact augmentation; TorchIO's `Motion`.
    """
    if not inside.any() or not (settings["degrees"] or settings["translation_mm"]):
        return image.copy()
    movements = int(settings["movements"])
    degrees = settings["degrees"] * generator.uniform(-1, 1, (movements, 3))
    translation_mm = settings["translation_mm"] * generator.uniform(-1, 1, (movements, 3))
    times = (np.arange(1, movements + 1) + generator.uniform(-JITTER, JITTER, movements)) / (movements + 1)
    times = _between_lines(times, image.shape[1])
    if image.shape[2] == 1:
        degrees[:, :2], translation_mm[:, 2] = 0, 0
    moved = _with_motion(image, _xzy(degrees), _xzy(translation_mm), times, spacing_mm=spacing_mm)
    return np.where(inside, np.abs(moved), image)


def _between_lines(times: Float[np.ndarray, " m"], lines: int) -> Float[np.ndarray, " m"]:
    """Shift times in 0..1 so that none is just before the central line, which TorchIO's rounding would move."""
    next_line = np.ceil(times * lines)
    return (np.where(next_line == lines // 2, next_line + 1, next_line) + 0.5) / lines


def _with_motion(
    image: Image,
    degrees: Float[np.ndarray, "m xzy"],
    translation_mm: Float[np.ndarray, "m xzy"],
    times: Float[np.ndarray, " m"],
    *,
    spacing_mm: Spacing,
) -> Image:
    """Apply TorchIO's motion, with y as the last axis and the origin at the image center, as it requires."""
    import torch  # imported here, as torch and torchio load slowly
    import torchio

    transposed = image.transpose(0, 2, 1)
    spacing = _xzy(np.array(spacing_mm))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(transposed.shape) - 1) / 2 * spacing
    subject = torchio.Subject(
        image=torchio.ScalarImage(tensor=torch.from_numpy(transposed[None].copy()), affine=affine)
    )
    motion = torchio.transforms.Motion(degrees, translation_mm, times, image_interpolation="linear")
    return motion(subject).get_first_image().data.numpy()[0].transpose(0, 2, 1)


def _xzy(rows: Float[np.ndarray, "... xyz"]) -> Float[np.ndarray, "... xzy"]:
    return rows[..., [0, 2, 1]]
