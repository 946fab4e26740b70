"""Register, correct and resample the images of a case to one grid.

Images stay in physical units (HU, SUV, MR intensity after bias correction) and are exactly 0 outside their field of
view. A transform maps RAS mm of the reference to RAS mm of the moving image.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from diffufuse.errors import BadInput
from diffufuse.prepare.bias import correct_bias, not_correctable
from diffufuse.prepare.body import body_mask, foreground
from diffufuse.prepare.label_volumes import label_notes, label_record
from diffufuse.prepare.registration import Kind, Registration, assess, first_violation, register
from diffufuse.space.resampling import common_grid, resample, resample_labels
from diffufuse.space.transforms import Transform
from diffufuse.space.volumes import Volume, same_grid
from diffufuse.store.intensity import intensity_statistics
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
        presence: modality to the field of view, for every modality; all False where it is absent.
        labels: uint8.
        body: boolean.
        unregistered: modality to the image at the position of its header, for the quality-control figure.
        registrations: modality to its transform and quality.
        record: JSON record of grid, transforms, quality and statistics.
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
        return {name: registration.transform for name, registration in self.registrations.items()}


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
            it shares; where that one is absent, it is registered by itself. A modality that follows the reference
            keeps the position of its header. `bias_correction` is `n4` (default for MR) or `none` (for others).
        reference: the modality whose frame is the common frame.
        spacing_mm: of the common grid along the reference's axes; None keeps that of the reference.
        transform: kind of registration: `rigid`, `affine` or `syn`.

    Returns:
        The case; its labels are drawn on the reference and not transformed. `require_sound` checks its registrations.

    Raises:
        BadInput: the reference is absent, an image is constant or not finite, or the labels have another grid.
    """
    _require_usable(images, labels, reference)
    images = {name: images[name] for name in modalities if name in images}
    corrections = {name: _corrected(name, image, modalities[name]) for name, image in images.items()}
    corrected = {name: image for name, (image, _) in corrections.items()}
    registrations = _registered(corrected, modalities, reference, transform)
    grid = common_grid(images[reference], spacing_mm=spacing_mm)
    resampled = {
        name: resample(image, grid, transform=registrations[name].transform) for name, image in corrected.items()
    }
    on_grid = {name: grid.with_array(values) for name, (values, _) in resampled.items()}
    presence = {name: resampled[name][1] if name in resampled else np.zeros(grid.shape, bool) for name in modalities}
    body = body_mask(on_grid, presence, kinds={name: modalities[name]["kind"] for name in on_grid}, reference=reference)
    moved_labels = grid.with_array(resample_labels(labels, grid))
    for name, image in on_grid.items():
        _require_varying(name, image.array[body & presence[name]])
    facts = {"spacing_mm": list(grid.spacing_mm), **label_record(labels, moved_labels, body)}
    return Prepared(
        images=on_grid,
        presence=presence,
        labels=moved_labels,
        body=grid.with_array(body),
        unregistered={name: grid.with_array(resample(image, grid)[0]) for name, image in corrected.items()},
        registrations=registrations,
        record={
            "reference": reference,
            "shape": list(grid.shape),
            "registration": {
                name: _registration_record(registrations[name], modalities[name], images) for name in registrations
            },
            "statistics": {name: _statistics(on_grid[name].array, body & presence[name]) for name in on_grid},
            "body_ml": grid.milliliters(np.count_nonzero(body)),
            **facts,
            "notes": [
                *(note for _, note in corrections.values() if note),
                *(f"{name}: no voxel of it lies in the body" for name in on_grid if not (body & presence[name]).any()),
                *label_notes(facts),
            ],
        },
    )


def require_sound(prepared: Prepared, case: str, *, gate: Mapping[str, float | None], picture: object) -> None:
    """Raise if a registration of a case fails its quality gate.

    For a modality that follows another, only the overlap of the fields of view is checked.

    Args:
        prepared: from `prepare_case`.
        case: name of the case.
        gate: measure to its limit in place of the default, see `registration.LIMITS`; None disables a measure.
        picture: path of the quality-control figure, for the error message.

    Raises:
        BadInput: a measure exceeds its limit; the message names case, modality, measure, value and limit.
    """
    for name, registration in prepared.registrations.items():
        only = ("overlap",) if registration.kind == "given" else None
        fault = None if name == prepared.record["reference"] else first_violation(registration, gate=gate, only=only)
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


def _corrected(name: str, image: Volume, settings: Mapping[str, Any]) -> tuple[Volume, str]:
    """Return the image, its bias field corrected where its modality asks for that, and a note where it cannot be."""
    if settings.get("bias_correction", "n4" if settings["kind"] == "mr" else "none") != "n4":
        return image, ""
    mask = foreground(image)
    reason = not_correctable(image, mask)
    if reason:
        return image, f"{name}: its bias field is not corrected, as {reason}"
    try:
        return correct_bias(image, mask), ""
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error


def _require_varying(name: str, values: np.ndarray) -> None:
    if values.size and np.ptp(values) == 0:
        raise BadInput(
            f"{name}: expected values that vary inside the body, got only {values[0]:g} there (number of voxels: "
            f"{values.size}); exclude the image, or correct its position."
        )


def _registered(
    images: Mapping[str, Volume], modalities: Modalities, reference: str, transform: Kind
) -> dict[str, Registration]:
    """Return the registration of each image; images that follow another share its transform."""
    views = {name: matching_view(image, modalities[name]["kind"]) for name, image in images.items()}
    leaders = {name: name if name == reference else _leader(name, modalities, images) for name in images}
    registrations = {reference: assess(views[reference], views[reference], transform=Transform((np.eye(4),)))}
    for name in set(leaders.values()) - {reference}:
        try:
            registrations[name] = register(views[name], views[reference], kind=transform)
        except BadInput as error:
            raise BadInput(f"{name}: {error}") from error
        if not registrations[name].accepted:
            log.warning("%s: no transform beats the position in its header, which is kept", name)
    return {
        name: registrations[name]
        if leader == name
        else assess(views[name], views[reference], transform=registrations[leader].transform)
        for name, leader in leaders.items()
    }


def _leader(name: str, modalities: Modalities, images: Mapping[str, Volume]) -> str:
    followed = str(modalities[name].get("follows"))
    return followed if followed in images else name


def matching_view(image: Volume, kind: str) -> Volume:
    """Return the image with intensities transformed for registration.

    CT is clipped to exclude air and metal, where MR and PET have no contrast; PET is log-transformed, so that a hot
    tumor does not leave the rest of the body in one histogram bin.

    Args:
        image: HU, SUV or MR intensity.
        kind: `ct`, `pet` or `mr`.
    """
    if kind == "ct":
        return image.with_array(np.clip(image.array, *MATCH_WINDOW_HU))
    return image.with_array(np.log1p(np.maximum(image.array, 0))) if kind == "pet" else image


def _registration_record(
    registration: Registration, settings: Mapping[str, Any], images: Mapping[str, Volume]
) -> dict[str, Any]:
    follows = settings.get("follows") if settings.get("follows") in images else None
    matrix = [round(float(value), 9) for value in registration.transform.matrix.ravel()]
    return {"kind": settings["kind"], "matrix": matrix, "follows": follows, **registration.quality()}


def _statistics(image: np.ndarray, inside: Mask) -> dict[str, float]:
    values = image[inside] if inside.any() else np.zeros(1)
    percentiles = {f"p{rank:g}".replace(".", "_"): float(np.percentile(values, rank)) for rank in PERCENTILES}
    return {**intensity_statistics(image, inside), **percentiles, "voxels": int(np.count_nonzero(inside))}
