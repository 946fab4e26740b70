"""From ingested images, each on its own grid, to one case on one grid.

Images stay in physical units (HU, SUV, MR intensity after bias correction) and are exactly 0 outside their field of
view. A transform is a (4, 4) matrix from RAS mm of the reference to RAS mm of the moving image.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import binary_fill_holes, binary_opening, label

from diffufuse.errors import BadInput
from diffufuse.normalization import intensity_statistics
from diffufuse.registration import Registration, assess, register_rigid
from diffufuse.resampling import common_grid, resample, resample_labels
from diffufuse.types import Mask
from diffufuse.volumes import Volume, same_grid

Modalities: TypeAlias = Mapping[str, Mapping[str, Any]]

BIAS_VOXEL_MM = 8.0
BIAS_ITERATIONS = (50, 50, 50)
BODY_THRESHOLD_HU = -250.0
BODY_FRACTION = 0.15
OPENING_MM = 6.0
COMPONENT_FRACTION = 0.1
MATCH_WINDOW_HU = (-250.0, 350.0)
PERCENTILES = (0.5, 1, 50, 99, 99.5)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """One case on its common grid.

    Attributes:
        images: modality to values in physical units, float32; modalities that the case lacks are missing.
        presence: modality to the field of view; of every modality, False throughout where it is absent.
        labels: uint8.
        body: boolean.
        unregistered: modality to the image at the position that its header claims, for the picture.
        record: what JSON keeps: grid, transforms, quality, statistics.
    """

    images: dict[str, Volume]
    presence: dict[str, Mask]
    labels: Volume
    body: Volume
    unregistered: dict[str, Volume]
    record: dict[str, Any]


def prepare_case(
    images: Mapping[str, Volume],
    labels: Volume,
    *,
    modalities: Modalities,
    reference: str,
    spacing_mm: tuple[float | None, float | None, float | None],
) -> Prepared:
    """Register, correct and resample all images of a case to one grid.

    Args:
        images: modality to image, each on its own grid.
        labels: on the reference image's grid.
        modalities: modality to `kind` (`pet`, `ct` or `mr`) and optionally `follows`, the modality whose transform
            it shares; where that one is absent, it is registered by itself. What follows the reference stays where
            its header puts it.
        reference: the modality in whose frame the case lies.
        spacing_mm: of the common grid along the reference's axes; None keeps the reference's own.

    Returns:
        The case; its labels are moved by no transform, as they are drawn on the reference.

    Raises:
        BadInput: the reference is absent, an image is constant or not finite, or the labels have another grid.
    """
    began = time.perf_counter()
    _require_usable(images, labels, reference)
    images = {name: images[name] for name in modalities if name in images}
    corrected = {
        name: correct_bias(image, foreground(image)) if modalities[name]["kind"] == "mr" else image
        for name, image in images.items()
    }
    found = _registered(corrected, modalities, reference)
    grid = common_grid(images[reference], spacing_mm=spacing_mm)
    resampled = {name: resample(image, grid, matrix=found[name].matrix) for name, image in corrected.items()}
    on_grid = {name: grid.with_array(values) for name, (values, _) in resampled.items()}
    presence = {name: resampled[name][1] if name in resampled else np.zeros(grid.shape, bool) for name in modalities}
    body = body_mask(on_grid, presence, kinds={name: modalities[name]["kind"] for name in on_grid}, reference=reference)
    moved_labels = grid.with_array(resample_labels(labels, grid))
    return Prepared(
        images=on_grid,
        presence=presence,
        labels=moved_labels,
        body=grid.with_array(body),
        unregistered={name: grid.with_array(resample(image, grid)[0]) for name, image in corrected.items()},
        record={
            "reference": reference,
            "shape": list(grid.shape),
            "spacing_mm": list(grid.spacing_mm),
            "registration": {name: _registration_record(found[name], modalities[name], images) for name in found},
            "statistics": {name: _statistics(on_grid[name].array, body & presence[name]) for name in on_grid},
            "body_ml": _milliliters(body, grid),
            "labels_ml": _label_volumes(labels, moved_labels),
            "runtime_s": time.perf_counter() - began,
        },
    )


def correct_bias(volume: Volume, mask: Mask) -> Volume:
    """Divide an MR image by its smooth receive field, estimated by N4 on voxels of about 8 mm.

    The logarithm of the field is made on the full grid from the estimate, and has mean 0 within the mask, so that
    the intensities keep their scale.

    Args:
        volume: MR intensity, at least 0.
        mask: where there is signal; shaped like the volume.

    Returns:
        The corrected image on the same grid, float32; unchanged if nothing is in the mask.

    Source:
        Tustison et al. 2010, N4ITK: improved N3 bias correction.
    """
    if not mask.any():
        return volume
    image = _itk(volume, volume.array.astype(np.float32))
    shrink = [max(1, round(BIAS_VOXEL_MM / mm)) for mm in volume.spacing_mm]
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetNumberOfThreads(1)
    n4.SetMaximumNumberOfIterations(BIAS_ITERATIONS)
    n4.Execute(sitk.Shrink(image, shrink), sitk.Shrink(_itk(volume, mask.astype(np.uint8)), shrink))
    field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).transpose(2, 1, 0)
    corrected = volume.array / np.exp(field - field[mask].mean())
    return volume.with_array(corrected.astype(np.float32))


def foreground(volume: Volume) -> Mask:
    """Where an MR or PET image has signal: above Otsu's threshold, or above 15 % of its 99th percentile if lower."""
    return volume.array > _signal_threshold(volume.array)


def body_mask(
    images: Mapping[str, Volume], presence: Mapping[str, Mask], *, kinds: Mapping[str, str], reference: str
) -> Mask:
    """Where the patient is.

    Above -250 HU where there is CT, elsewhere above the reference's threshold of signal; thin things like the couch
    are opened away, parts smaller than a tenth of the largest are dropped, holes are filled slice by slice.

    Args:
        images: modality to image, all on one grid.
        presence: modality to field of view.
        kinds: modality to `pet`, `ct` or `mr`.
        reference: the modality that decides where there is no CT.

    Returns:
        Boolean, shaped like the images; the reference's field of view if nothing else remains.
    """
    inside = np.zeros(images[reference].shape, bool)
    if kinds[reference] != "ct":
        image, seen = images[reference].array, presence[reference]
        inside = seen & (image > _signal_threshold(image[seen]))
    for name, kind in kinds.items():
        if kind == "ct" and name in images:
            inside = np.where(presence[name], images[name].array > BODY_THRESHOLD_HU, inside)
    filled = _filled(_large_parts(_opened(inside, images[reference].spacing_mm)))
    return filled if filled.any() else presence[reference].copy()


def _require_usable(images: Mapping[str, Volume], labels: Volume, reference: str) -> None:
    if reference not in images:
        raise BadInput(f"expected an image of the reference modality {reference}, but there is none; add it.")
    for name, image in images.items():
        broken = np.count_nonzero(~np.isfinite(image.array))
        if broken:
            raise BadInput(f"{name}: expected finite values, but {broken} voxels are not; repair or exclude the image.")
        if np.ptp(image.array) == 0:
            raise BadInput(f"{name}: expected values that vary, but all are {image.array.flat[0]}; exclude the image.")
    if not same_grid(labels, images[reference]):
        raise BadInput(
            f"labels: expected the grid of {reference} with shape {images[reference].shape}, got another with shape "
            f"{labels.shape}; resample the labels onto it."
        )


def _registered(images: Mapping[str, Volume], modalities: Modalities, reference: str) -> dict[str, Registration]:
    """The transform of each image; each is sought once, and shared by those that follow it."""
    views = {name: _matching_view(image, modalities[name]["kind"]) for name, image in images.items()}
    leaders = {name: name if name == reference else _leader(name, modalities, images) for name in images}
    found = {reference: assess(views[reference], views[reference], matrix=np.eye(4))}
    for name in set(leaders.values()) - {reference}:
        found[name] = register_rigid(views[name], views[reference])
        if not found[name].accepted:
            log.warning("%s: no transform beats the position in its header, which is kept", name)
    return {
        name: found[name] if leader == name else assess(views[name], views[reference], matrix=found[leader].matrix)
        for name, leader in leaders.items()
    }


def _leader(name: str, modalities: Modalities, images: Mapping[str, Volume]) -> str:
    followed = str(modalities[name].get("follows"))
    return followed if followed in images else name


def _matching_view(image: Volume, kind: str) -> Volume:
    """The image as registration sees it: CT without the range of air and metal, where MR and PET show nothing."""
    return image.with_array(np.clip(image.array, *MATCH_WINDOW_HU)) if kind == "ct" else image


def _registration_record(
    found: Registration, settings: Mapping[str, Any], images: Mapping[str, Volume]
) -> dict[str, Any]:
    follows = settings.get("follows") if settings.get("follows") in images else None
    matrix = [round(float(value), 9) for value in found.matrix.ravel()]
    return {"kind": settings["kind"], "matrix": matrix, "follows": follows, **found.quality()}


def _statistics(image: np.ndarray, inside: Mask) -> dict[str, float]:
    values = image[inside] if inside.any() else np.zeros(1)
    percentiles = {f"p{rank:g}".replace(".", "_"): float(np.percentile(values, rank)) for rank in PERCENTILES}
    return {**intensity_statistics(image, inside), **percentiles, "voxels": int(np.count_nonzero(inside))}


def _milliliters(mask: np.ndarray, grid: Volume) -> float:
    return float(np.count_nonzero(mask) * np.prod(grid.spacing_mm) / 1000)


def _label_volumes(before: Volume, after: Volume) -> dict[str, dict[str, float]]:
    """Volume of each label on its own and on the common grid; they differ where resampling lost something."""
    return {
        str(value): {
            "drawn": _milliliters(before.array == value, before),
            "resampled": _milliliters(after.array == value, after),
        }
        for value in np.unique(before.array)
        if value
    }


def _signal_threshold(values: np.ndarray) -> float:
    if np.ptp(values) == 0:
        return float(values.flat[0])
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(sitk.GetImageFromArray(values.reshape(1, -1).astype(np.float32)))
    return float(min(otsu.GetThreshold(), BODY_FRACTION * np.percentile(values, 99)))


def _opened(mask: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """The mask without what is thinner than 6 mm, or 2 voxels, in the axial plane; the array's border continues it."""
    x, y = (max(2, round(OPENING_MM / mm)) for mm in spacing_mm[:2])
    padded = np.pad(mask, ((x, x), (y, y), (0, 0)), mode="edge")
    return binary_opening(padded, np.ones((x, y, 1)))[x:-x, y:-y]


def _large_parts(mask: Mask) -> Mask:
    parts, count = label(mask)
    if not count:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= COMPONENT_FRACTION * sizes.max())[parts])


def _filled(mask: Mask) -> Mask:
    return np.stack([binary_fill_holes(mask[..., z]) for z in range(mask.shape[2])], axis=-1)


def _itk(volume: Volume, array: np.ndarray) -> sitk.Image:
    """For N4, which needs distances but no place in the patient."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing(volume.spacing_mm)
    return image
