"""A prepared case as files."""

import os
from collections.abc import Iterable

import numpy as np

from diffufuse.files.atomic import atomic_folder
from diffufuse.files.records import write_record
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
        record: JSON file; transforms, quality, statistics, versions, SHA-256 and steps of the store. Statistics are
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
    kept |= {"versions": package_versions(REGISTERING)}
    write_record({**prepared.record, "case": case, "affine": prepared.body.affine.tolist(), **kept}, record)
