"""Fused images, stored as prepared cases of one image, so that a network reads them as it reads any other."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from diffufuse.errors import BadInput
from diffufuse.files.records import read_record, write_record
from diffufuse.store.case import PreparedCase, read_prepared
from diffufuse.store.intensity import intensity_statistics
from diffufuse.store.slices import write_slices
from diffufuse.types import Mask

FUSED = "fused"
# A fused image is on the display scale already.
FUSED_BLOCK = {"kind": FUSED, "normalization": {"method": "display", "black": 0, "white": 1}}


def write_fused(
    image: Float32[np.ndarray, "x y z"],
    present: Mask,
    case: PreparedCase,
    folder: Path,
    *,
    sources: Mapping[str, Mapping[str, Any]],
) -> PreparedCase:
    """Write `fused/{case}.json` and `fused/{case}_slices.b2nd`: a prepared case with the one image `fused`.

    Body, labels and grid are those of the case.

    Args:
        image: (X, Y, Z) gray levels, 0..1.
        present: where the image was made of any source.
        case: the case that was fused.
        folder: of the predictions.
        sources: name to block of the images that were fused, in channel order; `kind` and `normalization` are kept.

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
        outliers=True,
    )
    record = {
        "case": case.name,
        "slices_sha256": digest,
        "statistics": {FUSED: intensity_statistics(image, body & present)},
        "affine": case.affine.tolist(),
        "labels_ml": {label: dict(volumes) for label, volumes in case.labels_ml.items()},
        "sources": {name: {key: block[key] for key in ("kind", "normalization")} for name, block in sources.items()},
    }
    write_record(record, within / f"{case.name}.json")
    return read_prepared(within / f"{case.name}.json")


def read_sources(record: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """The images that a fused one was made of, name to `kind` and `normalization`, in channel order.

    Raises:
        BadInput: the record is missing, damaged, or of another case.
    """
    sources = read_record(record).get("sources")
    if not isinstance(sources, dict) or not all(isinstance(block, dict) for block in sources.values()):
        raise BadInput(f"{record}: expected the record of a fused image; predict the case again.")
    return sources


def fused_records(predictions: str | os.PathLike[str]) -> list[Path]:
    """The records of the fused images in a folder of predictions, sorted; none for a model that fuses nothing."""
    return sorted((Path(predictions) / FUSED).glob("*.json"))


def records_in(places: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Records of prepared cases: those given, and those in folders of a fuser's predictions.

    Raises:
        BadInput: a folder holds no fused image.
    """
    records = []
    for place in map(Path, places):
        found = fused_records(place) if place.is_dir() else [place]
        if not found:
            raise BadInput(f"{place}: expected the fused images of cases, got none; predict them again with a fuser.")
        records += found
    return records
