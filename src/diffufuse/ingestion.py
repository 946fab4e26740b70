"""From a source's raw files to one NIfTI file per image, in patient coordinates and physical units."""

from collections.abc import Iterable
from pathlib import Path

from diffufuse.datasets import Dataset
from diffufuse.errors import BadInput
from diffufuse.tables import write_record
from diffufuse.volumes import Volume, read_volume, write_volume


def ingest_case(
    dataset: Dataset, raw: Path, case: str, *, modalities: Iterable[str], reference: str, folder: Path
) -> None:
    """Write the images that a case has, their facts, and its labels.

    Args:
        dataset: knows the source's files.
        raw: the source's folder.
        case: name of the case.
        modalities: which images to look for; one that the case lacks is simply not written.
        reference: the modality on whose grid the labels lie.
        folder: receives `{case}_{modality}.nii.gz` and `.json`, and `{case}_labels.nii.gz`.

    Raises:
        BadInput: the case is not there, or lacks the reference modality.
    """
    if case not in dataset.find_cases(raw):
        raise BadInput(f"{raw}: expected the case {case}, but the folder does not hold it; correct the cohort sheet.")
    for modality in modalities:
        found = dataset.read_image(raw, case, modality)
        if found is not None:
            image, facts = found
            write_volume(image, folder / f"{case}_{modality}.nii.gz")
            write_record(facts, folder / f"{case}_{modality}.json")
    if not (folder / f"{case}_{reference}.nii.gz").exists():
        raise BadInput(
            f"{raw}, case {case}: expected an image of the reference modality {reference}, but there is none; "
            "add it or remove the case from the cohort sheet."
        )
    labels = dataset.read_labels(raw, case, read_volume(folder / f"{case}_{reference}.nii.gz"))
    write_volume(labels, folder / f"{case}_labels.nii.gz")


def read_ingested(folder: str | Path, case: str, *, modalities: Iterable[str]) -> tuple[dict[str, Volume], Volume]:
    """The images that a case has, by modality, and its labels."""
    paths = {modality: Path(folder) / f"{case}_{modality}.nii.gz" for modality in modalities}
    images = {modality: read_volume(path) for modality, path in paths.items() if path.exists()}
    return images, read_volume(Path(folder) / f"{case}_labels.nii.gz")
