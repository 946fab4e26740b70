"""Files with the volume of a region in several samples of a model."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffufuse.files.records import read_record, write_record


def write_samples(volumes_ml: Mapping[str, Sequence[float]], case: str, folder: Path) -> None:
    """Write `{case}_{region}_samples.json` for every region that has samples."""
    for region, volumes in volumes_ml.items():
        if volumes:
            write_record({"volume_ml": list(volumes)}, folder / f"{case}_{region}_samples.json")


def read_samples(path: str | os.PathLike[str]) -> list[float]:
    """The volumes of a region in each sample, mL; empty if the model draws no samples."""
    return read_record(path)["volume_ml"] if Path(path).is_file() else []
