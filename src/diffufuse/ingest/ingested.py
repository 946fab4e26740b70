"""An ingested case on disk: what `ingest` wrote and `prepare` reads."""

from collections.abc import Iterable
from pathlib import Path

from diffufuse.space.volumes import Volume, read_volume


def read_ingested(folder: str | Path, case: str, *, modalities: Iterable[str]) -> tuple[dict[str, Volume], Volume]:
    """The images that a case has, by modality, and its labels."""
    paths = {modality: Path(folder) / f"{case}_{modality}.nii.gz" for modality in modalities}
    images = {modality: read_volume(path) for modality, path in paths.items() if path.exists()}
    return images, read_volume(Path(folder) / f"{case}_labels.nii.gz")
