"""Write a prepared case to files."""

import os
from collections.abc import Iterable

import numpy as np

from diffufuse.files.atomic import atomic_folder
from diffufuse.files.records import write_record
from diffufuse.logs import PROGRESS
from diffufuse.prepare.case import Prepared
from diffufuse.space.volumes import write_volume
from diffufuse.store.slices import open_slices, write_slices
from diffufuse.study.provenance import package_versions

# What decides where voxels end up.
REGISTERING = ("antspyx", "SimpleITK")


def write_prepared(
    prepared: Prepared,
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
    """Write a prepared case: one NIfTI file per image, labels, masks, slice store and record.

    What resampling did to the labels, and an image whose bias field is not corrected, are shown on the terminal.

    Args:
        prepared: from `preparation.prepare_case`.
        case: name of the case.
        modalities: all modalities of the dataset, in channel order; a missing one is stored as absent.
        images: folder for `{case}_{modality}.nii.gz`.
        labels: NIfTI file.
        body: NIfTI file.
        masks: folder for `{case}_{modality}.nii.gz`, the field of view of each image.
        slices: slice store.
        record: JSON file; transforms, quality, statistics, versions, SHA-256 and steps of the store. Statistics are
            those of the images before quantization, which changes a mean by at most half a step.
    """
    absent = np.zeros(prepared.body.shape, np.float32)
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
        images={name: prepared.images[name].array if name in prepared.images else absent for name in modalities},
        presence={name: prepared.presence.get(name, absent > 0) for name in modalities},
        body=prepared.body.array,
        labels=prepared.labels.array,
    )
    stored = open_slices(slices, sha256=digest)
    store_facts = {
        "slices_sha256": digest,
        "slices_step": dict(zip(stored.modalities, stored.steps.tolist(), strict=True)),
        "versions": package_versions(REGISTERING),
    }
    write_record({**prepared.record, "case": case, "affine": prepared.body.affine.tolist(), **store_facts}, record)
    for note in prepared.record["notes"]:
        PROGRESS.warning("%s, %s", case, note)
