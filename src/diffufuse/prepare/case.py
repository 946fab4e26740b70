"""From ingested images, each on its own grid, to one case on one grid.

Images stay in physical units (HU, SUV, MR intensity after bias correction) and are exactly 0 outside their field of
view. A transform leads from RAS mm of the reference to RAS mm of the moving image.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from diffufuse.errors import BadInput
from diffufuse.prepare.bias import correct_bias
from diffufuse.prepare.body import body_mask, foreground
from diffufuse.prepare.registration import Kind, Registration, assess, first_fault, register
from diffufuse.space.resampling import common_grid, resample, resample_labels
from diffufuse.space.transforms import Transform
from diffufuse.space.volumes import Volume, same_grid
from diffufuse.store.normalization import intensity_statistics
from diffufuse.types import Mask

Modalities: TypeAlias = Mapping[str, Mapping[str, Any]]

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
        registrations: modality to its transform and quality.
        record: what JSON keeps: grid, transforms, quality, statistics.
    """

    images: dict[str, Volume]
    presence: dict[str, Mask]
    labels: Volume
    body: Volume
    unregistered: dict[str, Volume]
    registrations: dict[str, Registration]
    record: dict[str, Any]

    @property
    def transforms(self) -> dict[str, Transform]:
        """Modality to its transform."""
        return {name: found.transform for name, found in self.registrations.items()}


def prepare_case(
    images: Mapping[str, Volume],
    labels: Volume,
    *,
    modalities: Modalities,
    reference: str,
    spacing_mm: tuple[float | None, float | None, float | None],
    transform: Kind = "rigid",
) -> Prepared:
    """Register, correct and resample all images of a case to one grid.

    Args:
        images: modality to image, each on its own grid.
        labels: on the reference image's grid.
        modalities: modality to `kind` (`pet`, `ct` or `mr`) and optionally `follows`, the modality whose transform
            it shares; where that one is absent, it is registered by itself. What follows the reference stays where
            its header puts it. `bias_correction` is `n4` (the default of MR) or `none` (of the others).
        reference: the modality in whose frame the case lies.
        spacing_mm: of the common grid along the reference's axes; None keeps the reference's own.
        transform: what registration may do: `rigid`, `affine` or `syn`.

    Returns:
        The case; its labels are moved by no transform, as they are drawn on the reference. Whether its registrations
        can be trusted is asked by `require_sound`.

    Raises:
        BadInput: the reference is absent, an image is constant or not finite, or the labels have another grid.
    """
    _require_usable(images, labels, reference)
    images = {name: images[name] for name in modalities if name in images}
    corrected = {name: _corrected(image, modalities[name]) for name, image in images.items()}
    found = _registered(corrected, modalities, reference, transform)
    grid = common_grid(images[reference], spacing_mm=spacing_mm)
    resampled = {name: resample(image, grid, transform=found[name].transform) for name, image in corrected.items()}
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
        registrations=found,
        record={
            "reference": reference,
            "shape": list(grid.shape),
            "spacing_mm": list(grid.spacing_mm),
            "registration": {name: _registration_record(found[name], modalities[name], images) for name in found},
            "statistics": {name: _statistics(on_grid[name].array, body & presence[name]) for name in on_grid},
            "body_ml": _milliliters(body, grid),
            "labels_ml": _label_volumes(labels, moved_labels),
        },
    )


def require_sound(prepared: Prepared, case: str, *, gate: Mapping[str, float | None], picture: object) -> None:
    """Stop a case of which a registration cannot be trusted.

    What follows another modality was placed by somebody's decision, so that only its field of view is asked about.

    Args:
        prepared: from `prepare_case`.
        case: name of the case.
        gate: measure to its limit in place of the default, see `registration.LIMITS`; None switches a measure off.
        picture: where the picture of the case is, for the sentence.

    Raises:
        BadInput: the case, the modality, the measure with its value and limit, and what to do.
    """
    for name, found in prepared.registrations.items():
        only = ("overlap",) if found.kind == "given" else None
        fault = None if name == prepared.record["reference"] else first_fault(found, gate=gate, only=only)
        if fault:
            raise BadInput(
                f"{case}, {name}: expected a registration with {fault}; look at {picture}, then exclude the case in "
                "its cohort sheet, let the modality follow another, or loosen the gate in config/datasets.yaml."
            )


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


def _corrected(image: Volume, settings: Mapping[str, Any]) -> Volume:
    how = settings.get("bias_correction", "n4" if settings["kind"] == "mr" else "none")
    return correct_bias(image, foreground(image)) if how == "n4" else image


def _registered(
    images: Mapping[str, Volume], modalities: Modalities, reference: str, transform: Kind
) -> dict[str, Registration]:
    """The transform of each image; each is sought once, and shared by those that follow it."""
    views = {name: matching_view(image, modalities[name]["kind"]) for name, image in images.items()}
    leaders = {name: name if name == reference else _leader(name, modalities, images) for name in images}
    found = {reference: assess(views[reference], views[reference], transform=Transform((np.eye(4),)))}
    for name in set(leaders.values()) - {reference}:
        found[name] = register(views[name], views[reference], kind=transform)
        if not found[name].accepted:
            log.warning("%s: no transform beats the position in its header, which is kept", name)
    return {
        name: found[name]
        if leader == name
        else assess(views[name], views[reference], transform=found[leader].transform)
        for name, leader in leaders.items()
    }


def _leader(name: str, modalities: Modalities, images: Mapping[str, Volume]) -> str:
    followed = str(modalities[name].get("follows"))
    return followed if followed in images else name


def matching_view(image: Volume, kind: str) -> Volume:
    """The image as registration sees it.

    CT without the range of air and metal, where MR and PET show nothing; the logarithm of PET, so that a hot tumor
    does not leave the rest of the body in one bin of a histogram.

    Args:
        image: HU, SUV or MR intensity.
        kind: `ct`, `pet` or `mr`.
    """
    if kind == "ct":
        return image.with_array(np.clip(image.array, *MATCH_WINDOW_HU))
    return image.with_array(np.log1p(np.maximum(image.array, 0))) if kind == "pet" else image


def _registration_record(
    found: Registration, settings: Mapping[str, Any], images: Mapping[str, Volume]
) -> dict[str, Any]:
    follows = settings.get("follows") if settings.get("follows") in images else None
    matrix = [round(float(value), 9) for value in found.transform.matrix.ravel()]
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
