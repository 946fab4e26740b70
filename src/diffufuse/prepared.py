"""A prepared case on disk: what `prepare` writes and every later stage reads."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffufuse.files import atomic_folder
from diffufuse.scan import Scan
from diffufuse.slices import StoredCase, open_slices, write_slices
from diffufuse.tables import read_record, write_record
from diffufuse.types import Spacing
from diffufuse.volumes import write_volume

if TYPE_CHECKING:  # registration loads slowly, and reading a prepared case does not need it
    from diffufuse.preparation import Prepared


@dataclass(frozen=True)
class PreparedCase:
    """One case on its common grid.

    Attributes:
        name: name of the case.
        slices: its images, presence, body and labels.
        statistics: modality to `mean` and `sd` of its image inside the body; absent modalities have none.
        affine: (4, 4), voxel index to RAS mm.
    """

    name: str
    slices: StoredCase
    statistics: Mapping[str, Mapping[str, float]]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> Spacing:
        """Voxel size along X, Y, Z."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def scan(self) -> Scan:
        """The whole case in memory, as acquired."""
        every = slice(None)
        return Scan(
            images=self.slices.images(every).transpose(1, 2, 3, 0),
            presence=self.slices.presence(every).transpose(1, 2, 3, 0),
            body=self.slices.body(every).transpose(1, 2, 0),
        )


def read_prepared(record: str | os.PathLike[str], slices: str | os.PathLike[str]) -> PreparedCase:
    """Open a prepared case by the two files that hold it.

    Raises:
        BadInput: the slice store is missing or damaged.
    """
    facts: dict[str, Any] = read_record(record)
    return PreparedCase(
        name=facts["case"],
        slices=open_slices(Path(slices), sha256=facts["slices_sha256"]),
        statistics=facts["statistics"],
        affine=np.array(facts["affine"]),
    )


def read_all_prepared(
    records: Sequence[str | os.PathLike[str]], slices: Sequence[str | os.PathLike[str]]
) -> dict[str, PreparedCase]:
    """Open several prepared cases, by name."""
    cases = [read_prepared(*files) for files in zip(records, slices, strict=True)]
    return {case.name: case for case in cases}


def write_prepared(
    prepared: "Prepared",
    case: str,
    *,
    modalities: Iterable[str],
    images: str | os.PathLike[str],
    labels: str | os.PathLike[str],
    body: str | os.PathLike[str],
    masks: str | os.PathLike[str],
    slices: str | os.PathLike[str],
    record: str | os.PathLike[str],
) -> None:
    """Write a prepared case: one NIfTI per image it has, labels, masks, slice store and record.

    Args:
        prepared: from `preparation.prepare_case`.
        case: name of the case.
        modalities: all modalities of the dataset, in channel order; one that the case lacks is stored as absent.
        images: folder for `{case}_{modality}.nii.gz`.
        labels: NIfTI file.
        body: NIfTI file.
        masks: folder for `{case}_{modality}.nii.gz`, the field of view of each image it has.
        slices: slice store.
        record: JSON file; transforms, quality, statistics, and the slice store's SHA-256 and steps. The statistics are
            those of the images before storing: a mean moves by half a step at most, of which the store demands
            that 98 % of an image span at least a hundred; usually they span thousands.
    """
    nothing = np.zeros(prepared.body.shape, np.float32)
    with atomic_folder(images) as folder:
        for modality, image in prepared.images.items():
            write_volume(image, folder / f"{case}_{modality}.nii.gz")
    with atomic_folder(masks) as folder:
        for modality in prepared.images:
            write_volume(prepared.body.with_array(prepared.presence[modality]), folder / f"{case}_{modality}.nii.gz")
    write_volume(prepared.labels, labels)
    write_volume(prepared.body, body)
    digest = write_slices(
        slices,
        images={name: prepared.images[name].array if name in prepared.images else nothing for name in modalities},
        presence={name: prepared.presence.get(name, nothing > 0) for name in modalities},
        body=prepared.body.array,
        labels=prepared.labels.array,
    )
    stored = open_slices(slices, sha256=digest)
    kept = {"slices_sha256": digest, "slices_step": dict(zip(stored.modalities, stored.steps.tolist(), strict=True))}
    write_record({**prepared.record, "case": case, "affine": prepared.body.affine.tolist(), **kept}, record)
