"""From a source's raw files to one NIfTI file per image, in patient coordinates and physical units."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.fetch.manifest import raw_folder_of, require_unchanged
from diffufuse.files.atomic import atomic_folder
from diffufuse.files.digests import sha256_of
from diffufuse.files.records import write_record
from diffufuse.files.tables import write_rows
from diffufuse.ingest.formats import Format
from diffufuse.space.volumes import Volume, read_volume, write_volume


def ingest_case(
    format: Format,
    manifest: str | Path,
    case: str,
    *,
    block: Mapping[str, Any],
    folder: str | Path,
    record: str | Path,
) -> None:
    """Write the images that a case has, their facts, its labels, and a record of what was written.

    Args:
        format: reads the source's files.
        manifest: of the dataset's raw files; the case's must be as it says.
        case: name of the case.
        block: of the dataset: `modalities`, `reference`, `annotation` and `labels`.
        folder: receives `{case}_{modality}.nii.gz` and `.json` of each image that the case has, `{case}_labels` alike,
            and `{case}_choice.tsv`, what was chosen for every modality and what was left.
        record: JSON file; the SHA-256 of every file in the folder, so that what follows depends on content alone.

    Raises:
        BadInput: the case is not there, lacks the reference modality, or a file is not as it was fetched.
    """
    with atomic_folder(folder) as partial:
        _write_case(format, manifest, case, block, partial)
        files = {path.name: sha256_of(path) for path in sorted(partial.iterdir())}
    write_record({"case": case, "files": files}, record)


def _write_case(format: Format, manifest: str | Path, case: str, block: Mapping[str, Any], folder: Path) -> None:
    raw, reference = raw_folder_of(manifest), block["reference"]
    raw_case = format.open_case(raw, case, block)
    require_unchanged(manifest, raw_case.files, owns=raw_case.owns)
    for modality in block["modalities"]:
        found = raw_case.read_image(modality)
        if found is not None:
            _write(found, folder / f"{case}_{modality}")
    if not (folder / f"{case}_{reference}.nii.gz").exists():
        raise BadInput(
            f"{raw}, case {case}: expected an image of the reference modality {reference}, but there is none; "
            "add it or exclude the case in the cohort sheet."
        )
    write_rows(raw_case.choice, folder / f"{case}_choice.tsv")
    labels = raw_case.read_labels(read_volume(folder / f"{case}_{reference}.nii.gz"))
    _write(labels, folder / f"{case}_labels")


def _write(found: tuple[Volume, dict[str, Any]], stem: Path) -> None:
    volume, facts = found
    write_volume(volume, stem.with_name(f"{stem.name}.nii.gz"))
    write_record(facts, stem.with_name(f"{stem.name}.json"))
