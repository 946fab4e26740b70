"""N4 bias field correction of MR images."""

import numpy as np
import SimpleITK as sitk  # noqa: N813

from diffufuse.errors import BadInput
from diffufuse.space.volumes import Volume
from diffufuse.types import Mask

# At 5 mm the field is within 1 % of that at full resolution, at 8 mm within 2 to 3 %: see benchmarks/registration.py.
BIAS_VOXEL_MM = 5.0
BIAS_ITERATIONS = 50
MOST_LEVELS = 4
FINEST_MESH_MM = 16.0
# N4's mesh spans the distance from the first voxel to the last.
FEWEST_VOXELS = 2


def not_correctable(volume: Volume, mask: Mask) -> str | None:
    """The reason why N4 has no field to estimate in an image, as a note for a record; None where it has.

    Args:
        volume: MR intensity.
        mask: foreground; shaped like the volume.
    """
    if min(volume.shape) < FEWEST_VOXELS:
        return f"its shape is {' x '.join(map(str, volume.shape))}, and N4 needs {FEWEST_VOXELS} voxels along each axis"
    return None if mask.any() else "no voxel of it is foreground"


def correct_bias(volume: Volume, mask: Mask) -> Volume:
    """Correct the bias field of an MR image by N4, estimated on voxels of about 5 mm.

    The B-spline mesh has 4 levels, or fewer where the finest would be finer than 16 mm. The log field is evaluated on
    the full grid and has mean 0 within the mask, so that the intensities keep their scale. A thin slab keeps at least
    two voxels along each axis.

    Args:
        volume: MR intensity, at least 0.
        mask: foreground; shaped like the volume.

    Returns:
        The corrected image on the same grid, float32; unchanged where `not_correctable` gives a reason.

    Raises:
        BadInput: N4 finds no finite field.

    Source:
        Tustison et al. 2010, N4ITK: improved N3 bias correction.
    """
    if not_correctable(volume, mask):
        return volume
    image = _itk(volume, volume.array.astype(np.float32))
    field = _log_field(image, _itk(volume, mask.astype(np.uint8)), volume)
    corrected = volume.array / np.exp(field - field[mask].mean())
    if not np.isfinite(corrected).all():
        raise _failed(volume, "its field is not finite")
    return volume.with_array(corrected.astype(np.float32))


def _log_field(image: sitk.Image, mask: sitk.Image, volume: Volume) -> np.ndarray:
    """Return the log of the bias field (X, Y, Z) on the full grid."""
    shrink = [
        min(max(1, round(BIAS_VOXEL_MM / mm)), n // FEWEST_VOXELS)
        for mm, n in zip(volume.spacing_mm, volume.shape, strict=True)
    ]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetNumberOfThreads(1)
    n4.SetMaximumNumberOfIterations([BIAS_ITERATIONS] * _levels(volume))
    try:
        n4.Execute(sitk.Shrink(image, shrink), sitk.Shrink(mask, shrink))
        return np.asarray(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).transpose(2, 1, 0))
    except RuntimeError as error:
        raise _failed(volume, "it gave up") from error


def _failed(volume: Volume, reason: str) -> BadInput:
    return BadInput(
        f"expected a bias field that N4 can estimate in an image of shape {volume.shape}, but {reason}; set "
        "bias_correction: none for the modality, or exclude the image."
    )


def _levels(volume: Volume) -> int:
    """Return the number of mesh levels of N4; a mesh as fine as tissue would remove tissue contrast."""
    shortest_mm = min(n * mm for n, mm in zip(volume.shape, volume.spacing_mm, strict=True))
    return int(np.clip(1 + np.floor(np.log2(max(shortest_mm / FINEST_MESH_MM, 1))), 1, MOST_LEVELS))


def _itk(volume: Volume, array: np.ndarray) -> sitk.Image:
    """Return a SimpleITK image with spacing only, as N4 does not use origin and direction."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing(volume.spacing_mm)
    return image
