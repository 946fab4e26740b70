"""Files with the volume of a region in several samples of a model."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffufuse.files.records import read_record, write_record
from diffufuse.files.sealed import not_as_written


def write_samples(volumes_ml: Mapping[str, Sequence[float]], case: str, folder: Path) -> None:
    """Write `{case}_{region}_samples.json` for every region that has samples."""
    for region, volumes in volumes_ml.items():
        if volumes:
            write_record({"volume_ml": list(volumes)}, folder / f"{case}_{region}_samples.json")


def read_samples(path: str | os.PathLike[str]) -> list[float]:
    """The volumes of a region in each sample, mL; empty if the model draws no samples.

    Raises:
        BadInput: the file is damaged.
    """
    if not Path(path).is_file():
        return []
    predictions = Path(path).parent
    volumes = read_record(path, remove=predictions).get("volume_ml")
    if not isinstance(volumes, list) or not all(isinstance(volume, int | float) for volume in volumes):
        raise not_as_written(path, "the volumes of samples", "it is of another form", remove=predictions)
    return volumes
