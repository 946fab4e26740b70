"""Fused images, stored as prepared cases of one image, so that a network reads them as it reads any other."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from diffufuse.errors import BadInput
from diffufuse.files.records import write_record
from diffufuse.store.case import FUSED, PreparedCase, read_prepared
from diffufuse.store.case_lists import CASE_LISTS, read_case_list
from diffufuse.store.intensity import intensity_statistics
from diffufuse.store.slices import write_slices
from diffufuse.types import Mask


def write_fused(
    image: Float32[np.ndarray, "x y z"],
    present: Mask,
    case: PreparedCase,
    folder: Path,
) -> PreparedCase:
    """Write `fused/{case}.json` and `fused/{case}_slices.b2nd`: a prepared case with the one image `fused`.

    Body, labels and grid are those of the case.

    Args:
        image: (X, Y, Z) gray levels, 0..1.
        present: where the image was made of any source.
        case: the case that was fused.
        folder: of the predictions.

    Returns:
        The case as it is read back: its gray levels are those of the file, at most 1/65534 from those given.

    Raises:
        BadInput: a value is not finite.
    """
    within = folder / FUSED
    within.mkdir(exist_ok=True)
    body = case.slices.body(slice(None)).transpose(1, 2, 0)
    digest = write_slices(
        within / f"{case.name}_slices.b2nd",
        images={FUSED: image},
        presence={FUSED: present},
        body=body,
        labels=case.slices.labels(slice(None)).transpose(1, 2, 0),
        bounded=True,
    )
    record = {
        "case": case.name,
        "slices_sha256": digest,
        "statistics": {FUSED: intensity_statistics(image, body & present)},
        "affine": case.affine.tolist(),
        "labels_ml": {label: dict(volumes) for label, volumes in case.labels_ml.items()},
    }
    write_record(record, within / f"{case.name}.json")
    return read_prepared(within / f"{case.name}.json")


def fused_records(predictions: str | os.PathLike[str]) -> list[Path]:
    """The records of the fused images in a folder of predictions, sorted; none for a model that fuses nothing."""
    return sorted((Path(predictions) / FUSED).glob("*.json"))


def records_in(places: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Records of prepared cases: those given, those in lists, and those in folders of a fuser's predictions.

    Raises:
        BadInput: a folder holds no fused image, or a list does not name its cases as they are.
    """
    records = []
    for place in map(Path, places):
        records += _records_in(place)
    return records


def _records_in(place: Path) -> list[Path]:
    if place.parent.name == CASE_LISTS:
        return read_case_list(place)
    found = fused_records(place) if place.is_dir() else [place]
    if not found:
        raise BadInput(f"{place}: expected the fused images of cases, got none; predict them again with a fuser.")
    return found


def gray_levels(fused: PreparedCase) -> Float32[np.ndarray, "x y z"]:
    """The fused image of a case in 0..1, which rounding to the steps of its file can leave by less than 1e-6."""
    return np.clip(fused.scan.images[0], 0, 1)
