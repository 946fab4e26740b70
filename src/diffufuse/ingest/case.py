"""Convert the raw files of a case to one NIfTI file per image, in patient coordinates and physical units."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.fetch.manifest import fetched_folder_of, require_unchanged
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
    """Write the images and labels of a case, their metadata, and a record of the written files.

    Args:
        format: reads the raw files.
        manifest: of the dataset's raw files; those of the case must match it.
        case: name of the case.
        block: settings of the dataset: `modalities`, `reference`, `annotation` and `labels`.
        folder: receives `{case}_{modality}.nii.gz` and `.json` of each image, the same for `{case}_labels`, and
            `{case}_choice.tsv`, the files or series chosen for each modality and those left out.
        record: JSON file with the SHA-256 of every file in the folder, so that later stages depend on content alone.

    Raises:
        BadInput: the case is missing, lacks the reference modality, or a file differs from the manifest.
    """
    with atomic_folder(folder) as partial:
        _write_case(format, manifest, case, block, partial)
        files = {path.name: sha256_of(path) for path in sorted(partial.iterdir())}
    write_record({"case": case, "files": files}, record)


def _write_case(format: Format, manifest: str | Path, case: str, block: Mapping[str, Any], folder: Path) -> None:
    raw = fetched_folder_of(manifest)
    raw_case = format.open_case(raw, case, block)
    reference = block["reference"]
    require_unchanged(manifest, raw_case.files, owns=raw_case.owns)
    for modality in block["modalities"]:
        image = raw_case.read_image(modality)
        if image is not None:
            _write(image, folder / f"{case}_{modality}")
    if not (folder / f"{case}_{reference}.nii.gz").exists():
        raise BadInput(
            f"{raw}, case {case}: expected an image of the reference modality {reference}, but there is none; "
            "add it or exclude the case in the cohort sheet."
        )
    write_rows(raw_case.choice, folder / f"{case}_choice.tsv")
    labels = raw_case.read_labels(read_volume(folder / f"{case}_{reference}.nii.gz"))
    _write(labels, folder / f"{case}_labels")


def _write(image: tuple[Volume, dict[str, Any]], stem: Path) -> None:
    volume, facts = image
    write_volume(volume, stem.with_name(f"{stem.name}.nii.gz"))
    write_record(facts, stem.with_name(f"{stem.name}.json"))
