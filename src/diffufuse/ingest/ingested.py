"""Read an ingested case from disk."""

from collections.abc import Iterable
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.files.digests import sha256_of
from diffufuse.files.records import read_record
from diffufuse.space.volumes import Volume, read_volume


def read_ingested(record: str | Path, *, modalities: Iterable[str]) -> tuple[dict[str, Volume], Volume]:
    """Read the images of an ingested case, by modality, and its labels; its folder lies beside its record.

    Raises:
        BadInput: the record is damaged, or a file of it is missing or another.
    """
    facts, folder = read_record(record), Path(record).with_suffix("")
    case, digests = facts.get("case"), facts.get("files")
    if not isinstance(case, str) or not isinstance(digests, dict):
        raise BadInput(f"{record}: expected the record of an ingested case, got another; remove it and run again.")
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != digest:
            state = "it was changed since" if path.is_file() else "it is gone"
            raise BadInput(f"{path}: expected the file as it was ingested, but {state}; remove {record}.")
    paths = {modality: folder / f"{case}_{modality}.nii.gz" for modality in modalities}
    images = {modality: read_volume(path) for modality, path in paths.items() if path.name in digests}
    return images, read_volume(folder / f"{case}_labels.nii.gz")
