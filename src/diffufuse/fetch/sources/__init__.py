"""Sources of data. A `source.kind` in `config/datasets.yaml` is a key here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from diffufuse.fetch.extent import Extent
from diffufuse.fetch.sources import archive, copy, idc, phantom, synapse


class Source(Protocol):
    """A kind of source."""

    def fetch(self, raw: Path, source: Mapping[str, Any], *, study_seed: int) -> None:
        """Fill the raw folder; data that is complete already is kept."""

    def extent(self, source: Mapping[str, Any]) -> Extent:
        """Size of the data."""

    def address(self, source: Mapping[str, Any]) -> str:
        """Source of the data for the manifest, without secrets."""


SOURCES: dict[str, Source] = {"archive": archive, "copy": copy, "idc": idc, "phantom": phantom, "synapse": synapse}
