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
        BadInput: the record is damaged, or a file is not as the record says.
    """
    facts, folder = read_record(record), Path(record).with_suffix("")
    if not isinstance(facts.get("case"), str) or not isinstance(facts.get("files"), dict):
        raise BadInput(f"{record}: expected the record of an ingested case, got another or a damaged one; remove it.")
    case = facts["case"]
    for name, digest in facts["files"].items():
        if not (folder / name).exists():
            raise BadInput(f"{folder / name}: expected the file as it was ingested, but it is gone; remove {record}.")
        if sha256_of(folder / name) != digest:
            raise BadInput(
                f"{folder / name}: expected the file as it was ingested, but it is changed; remove {record}."
            )
    paths = {modality: Path(folder) / f"{case}_{modality}.nii.gz" for modality in modalities}
    images = {modality: read_volume(path) for modality, path in paths.items() if path.exists()}
    return images, read_volume(Path(folder) / f"{case}_labels.nii.gz")
