"""The datasets: how each source's raw files become images and labels of a case.

The key is the dataset's name everywhere: in `config/datasets.yaml`, in paths and in tables.
"""

from pathlib import Path
from typing import Any, Protocol

from diffufuse.datasets import phantom, sts_ibsi
from diffufuse.volumes import Volume


class Dataset(Protocol):
    """What a dataset's module offers."""

    def find_cases(self, raw: Path) -> list[str]:
        """Names of the cases in the raw folder, sorted."""

    def read_image(self, raw: Path, case: str, modality: str) -> tuple[Volume, dict[str, Any]] | None:
        """An image in physical units and its allow-listed facts; None where the case has no such modality."""

    def read_labels(self, raw: Path, case: str, reference: Volume) -> Volume:
        """Labels, consecutive integers, on the grid of the reference modality's image."""


DATASETS: dict[str, Dataset] = {"phantom": phantom, "sts_ibsi": sts_ibsi}
