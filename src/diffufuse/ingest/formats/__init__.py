"""The formats: how the raw files of a dataset become images and labels of a case.

The key is the `format` of a dataset's block in `config/datasets.yaml`; the block says where to look and what to choose.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from diffufuse.ingest.formats import dicom, nifti
from diffufuse.space.volumes import Volume


class RawCase(Protocol):
    """The raw files of one case."""

    @property
    def files(self) -> list[Path]:
        """Every file that may be read."""

    def owns(self, path: str) -> bool:
        """Whether a path below the raw folder is of this case, be it there or not."""

    @property
    def choice(self) -> list[dict[str, Any]]:
        """What was chosen for every modality, and what was left: rows of a table."""

    def read_image(self, modality: str) -> tuple[Volume, dict[str, Any]] | None:
        """An image in physical units and its allow-listed facts; None where the case has no such modality."""

    def read_labels(self, reference: Volume) -> tuple[Volume, dict[str, Any]]:
        """Labels on the grid of the reference modality's image, and their facts."""


class Format(Protocol):
    """What a format's module offers."""

    def find_cases(self, raw: Path, block: Mapping[str, Any]) -> list[str]:
        """Names of the cases in the raw folder, sorted; a source's `_` is our `-`."""

    def open_case(self, raw: Path, case: str, block: Mapping[str, Any]) -> RawCase:
        """The raw files of one case; raises BadInput where there are none."""


FORMATS: dict[str, Format] = {"dicom": dicom, "nifti": nifti}
