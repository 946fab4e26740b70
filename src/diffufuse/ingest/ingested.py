"""Read an ingested case from disk."""

from collections.abc import Iterable
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.files.records import read_record
from diffufuse.space.volumes import Volume, read_volume


def read_ingested(record: str | Path, *, modalities: Iterable[str]) -> tuple[dict[str, Volume], Volume]:
    """Read the images of an ingested case, by modality, and its labels; its folder lies beside its record.

    Raises:
        BadInput: a file of the record is missing.
    """
    facts, folder = read_record(record), Path(record).with_suffix("")
    case = facts["case"]
    missing = [name for name in facts["files"] if not (folder / name).exists()]
    if missing:
        raise BadInput(f"{folder / missing[0]}: expected the file as it was ingested, but it is gone; remove {record}.")
    paths = {modality: Path(folder) / f"{case}_{modality}.nii.gz" for modality in modalities}
    images = {modality: read_volume(path) for modality, path in paths.items() if path.exists()}
    return images, read_volume(Path(folder) / f"{case}_labels.nii.gz")
