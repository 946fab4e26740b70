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
    """Let the patient move while an MR image is acquired, inside the body.

    A scanner collects the Fourier transform of the body line after line. If the body moves between two lines, the
    image is put together from lines of several poses: it shows ghosts and ripples along the axis in which lines
    follow each other, and little of a blur. That axis is y here, as is usual for axial slices, whose lines run along
    the longer side of the body. The body is rigid, turns about the middle of the image and keeps its pose between
    movements; the pose as given is the one in which the middle of k-space, and so the image's contrast, is acquired.
    A single slice moves in its plane alone.

    Args:
        image: (X, Y, Z) MR intensity, a whole volume: what enters from outside of it is its lowest value.
        inside: (X, Y, Z) body and field of view; voxels elsewhere stay as they are.
        settings: `degrees` and `translation_mm`, largest rotation about and translation along each axis, >= 0;
            `movements`, how often the pose changes, >= 1.
        spacing_mm: voxel size.
        generator: the only source of randomness.

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
    moved = _moved(image, _xzy(degrees), _xzy(translation_mm), times, spacing_mm=spacing_mm)
    return np.where(inside, np.abs(moved), image)


def _between_lines(times: Float[np.ndarray, " m"], lines: int) -> Float[np.ndarray, " m"]:
    """Times of 0..1, none just before the middle line: TorchIO rounds down, and would give that line another pose."""
    next_line = np.ceil(times * lines)
    return (np.where(next_line == lines // 2, next_line + 1, next_line) + 0.5) / lines


def _moved(
    image: Image,
    degrees: Float[np.ndarray, "m xzy"],
    translation_mm: Float[np.ndarray, "m xzy"],
    times: Float[np.ndarray, " m"],
    *,
    spacing_mm: Spacing,
) -> Image:
    """TorchIO cuts k-space along its last axis and turns about the origin: y comes last, and 0 lies in the middle."""
    import torch  # like torchio, it loads for seconds, which other conditions need not wait for
    import torchio

    turned = image.transpose(0, 2, 1)
    spacing = _xzy(np.array(spacing_mm))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(turned.shape) - 1) / 2 * spacing
    still = torchio.Subject(image=torchio.ScalarImage(tensor=torch.from_numpy(turned[None].copy()), affine=affine))
    motion = torchio.transforms.Motion(degrees, translation_mm, times, image_interpolation="linear")
    return motion(still).get_first_image().data.numpy()[0].transpose(0, 2, 1)


def _xzy(rows: Float[np.ndarray, "... xyz"]) -> Float[np.ndarray, "... xzy"]:
    return rows[..., [0, 2, 1]]
