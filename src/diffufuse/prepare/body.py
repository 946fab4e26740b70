"""Body and foreground masks."""

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import binary_fill_holes, binary_opening, label

from diffufuse.space.volumes import Volume
from diffufuse.types import Mask

BODY_THRESHOLD_HU = -250.0
BODY_FRACTION = 0.15
OPENING_MM = 6.0
COMPONENT_FRACTION = 0.1


def foreground(volume: Volume) -> Mask:
    """Return the foreground of an MR or PET image: above Otsu's threshold, or 15 % of the 99th percentile if lower."""
    return volume.array > _signal_threshold(volume.array)


def body_mask(
    images: Mapping[str, Volume], presence: Mapping[str, Mask], *, kinds: Mapping[str, str], reference: str
) -> Mask:
    """Return the body mask.

    Above -250 HU where there is CT, elsewhere above the foreground threshold of the reference; opening removes thin
    structures like the couch, components smaller than a tenth of the largest are dropped, holes are filled per slice.

    Args:
        images: modality to image, all on one grid.
        presence: modality to field of view.
        kinds: modality to `pet`, `ct` or `mr`.
        reference: the modality used where there is no CT.

    Returns:
        Boolean, shaped like the images; the reference's field of view if the mask would be empty.
    """
    inside = np.zeros(images[reference].shape, bool)
    if kinds[reference] != "ct":
        image, present = images[reference].array, presence[reference]
        inside = present & (image > _signal_threshold(image[present]))
    for name, kind in kinds.items():
        if kind == "ct" and name in images:
            inside = np.where(presence[name], images[name].array > BODY_THRESHOLD_HU, inside)
    filled = _fill_holes(_large_components(_opening(inside, images[reference].spacing_mm)))
    return filled if filled.any() else presence[reference].copy()


def _signal_threshold(values: np.ndarray) -> float:
    if np.ptp(values) == 0:
        return float(values.flat[0])
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(sitk.GetImageFromArray(values.reshape(1, -1).astype(np.float32)))
    return float(min(otsu.GetThreshold(), BODY_FRACTION * np.percentile(values, 99)))


def _opening(mask: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """Open a mask with 6 mm, or 2 voxels, in the axial plane; edge padding preserves it at the border."""
    x, y = (max(2, round(OPENING_MM / mm)) for mm in spacing_mm[:2])
    padded = np.pad(mask, ((x, x), (y, y), (0, 0)), mode="edge")
    return binary_opening(padded, np.ones((x, y, 1)))[x:-x, y:-y]


def _large_components(mask: Mask) -> Mask:
    parts, count = label(mask)
    if not count:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= COMPONENT_FRACTION * sizes.max())[parts])


def _fill_holes(mask: Mask) -> Mask:
    return np.stack([binary_fill_holes(mask[..., z]) for z in range(mask.shape[2])], axis=-1)
