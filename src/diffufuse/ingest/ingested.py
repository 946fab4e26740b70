"""Read an ingested case from disk."""

from collections.abc import Iterable
from pathlib import Path

from diffufuse.files.digests import sha256_of
from diffufuse.files.records import read_record
from diffufuse.files.sealed import not_as_written
from diffufuse.space.volumes import Volume, read_volume


def read_ingested(record: str | Path, *, modalities: Iterable[str]) -> tuple[dict[str, Volume], Volume]:
    """Read the images of an ingested case, by modality, and its labels; its folder lies beside its record.

    Raises:
        BadInput: the record is damaged, or a file is not as the record says.
    """
    facts, folder = read_record(record), Path(record).with_suffix("")
    if not isinstance(facts.get("case"), str) or not isinstance(facts.get("files"), dict):
        raise not_as_written(record, "the record of an ingested case", "it is another one")
    case = facts["case"]
    for name, digest in facts["files"].items():
        if not (folder / name).exists():
            raise not_as_written(folder / name, "the file", "it is gone", remove=record)
        if sha256_of(folder / name) != digest:
            raise not_as_written(folder / name, "the file", "it is changed", remove=record)
    paths = {modality: Path(folder) / f"{case}_{modality}.nii.gz" for modality in modalities}
    images = {modality: read_volume(path) for modality, path in paths.items() if path.exists()}
    return images, read_volume(Path(folder) / f"{case}_labels.nii.gz")
