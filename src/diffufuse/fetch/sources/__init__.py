"""The sources: a `source.kind` in `config/datasets.yaml` is a key here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from diffufuse.fetch.extent import Extent
from diffufuse.fetch.sources import archive, copy, idc, phantom, synapse


class Source(Protocol):
    """A kind of source: `fetch` fills the raw folder, and leaves alone what is whole already."""

    def fetch(self, raw: Path, source: Mapping[str, Any], *, study_seed: int) -> None:
        """Fill the folder."""

    def extent(self, source: Mapping[str, Any]) -> Extent:
        """How much there is to fetch."""

    def address(self, source: Mapping[str, Any]) -> str:
        """Where the data comes from, for the manifest; holds no secret."""


SOURCES: dict[str, Source] = {"archive": archive, "copy": copy, "idc": idc, "phantom": phantom, "synapse": synapse}
