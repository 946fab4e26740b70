"""Readers of raw file formats: images and labels of a case.

The key is the `format` of a dataset's block in `config/datasets.yaml`, which also holds the reader's settings.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from diffufuse.ingest.formats import dicom, nifti, pairs
from diffufuse.ingest.formats.listing import Listing
from diffufuse.space.volumes import Volume


class RawCase(Protocol):
    """The raw files of one case."""

    @property
    def files(self) -> list[Path]:
        """All files that may be read."""

    def owns(self, path: str) -> bool:
        """Return whether a path below the raw folder belongs to this case, whether or not it exists."""

    @property
    def choice(self) -> list[dict[str, Any]]:
        """Table rows of the files or series chosen for each modality, and of those left out."""

    def read_image(self, modality: str) -> tuple[Volume, dict[str, Any]] | None:
        """Read an image in physical units and its allow-listed metadata; None where the case lacks the modality."""

    def read_labels(self, reference: Volume) -> tuple[Volume, dict[str, Any]]:
        """Read the labels on the grid of the reference image, and their metadata."""


class Format(Protocol):
    """Interface of a format's module."""

    def list_cases(self, raw: Path, block: Mapping[str, Any]) -> Listing:
        """List the cases of the raw folder with their names, and what in it is no case; raises BadInput without one."""

    def open_case(self, raw: Path, case: str, block: Mapping[str, Any]) -> RawCase:
        """Open the raw files of one case; raises BadInput where there are none."""

    def identities(self, raw: Path, case: str, block: Mapping[str, Any]) -> frozenset[str]:
        """Return identifiers, not to be shown, of which two cases of one patient have one in common."""

    def case_of_image(self, path: str, block: Mapping[str, Any]) -> str | None:
        """Return the case of whose images a path below the raw folder is one, None for other files."""


FORMATS: dict[str, Format] = {"dicom": dicom, "nifti": nifti, "pairs": pairs}
