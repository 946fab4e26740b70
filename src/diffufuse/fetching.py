"""Bring a dataset's raw files into place and write down what they are."""

import csv
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from diffufuse import archive, phantom
from diffufuse.errors import BadInput
from diffufuse.files import atomic_path, sha256_of
from diffufuse.logs import PROGRESS, Progress

COLUMNS = ("path", "bytes", "sha256", "source", "license", "citation")


class Source(Protocol):
    """A kind of source: `fetch` fills the raw folder, and leaves alone what is whole already."""

    def fetch(self, raw: Path, source: Mapping[str, Any], *, study_seed: int) -> None:
        """Fill the folder."""


SOURCES: dict[str, Source] = {"archive": archive, "phantom": phantom}


def fetch_dataset(source: Mapping[str, Any], raw: Path, *, mirror: str | None, study_seed: int) -> None:
    """Fill a dataset's raw folder from its source, or from a mirror where one is given and holds it.

    Args:
        source: the dataset's `source` in `config/datasets.yaml`.
        raw: the folder to fill.
        mirror: a local folder with copies of public data, or None.
        study_seed: for sources that make their data.

    Raises:
        BadInput: the source cannot be had.
    """
    raw.mkdir(parents=True, exist_ok=True)
    if mirror and "mirror" in source:
        _copy(Path(mirror) / source["mirror"], raw)
    else:
        SOURCES[source["kind"]].fetch(raw, source, study_seed=study_seed)


def write_manifest(
    raw: Path, path: str | os.PathLike[str], *, source: Mapping[str, Any], license: str, citation: str
) -> None:
    """Write one row per raw file: path, bytes, SHA-256, public source, license, citation.

    Args:
        raw: the folder that `fetch_dataset` filled.
        path: the manifest, tab-separated.
        source: the dataset's `source` in `config/datasets.yaml`; a mirrored file tells its public address all the same.
        license: under which the data may be used.
        citation: what to cite.

    Raises:
        BadInput: the raw folder is empty.
    """
    files = sorted(file for file in raw.rglob("*") if file.is_file())
    if not files:
        raise BadInput(f"{raw}: expected the dataset's files, but the folder is empty; fetch it again.")
    told = (source.get("url", source["kind"]), license, citation)
    progress = Progress(f"Hash {raw.name} (files)", len(files))
    with atomic_path(path) as partial, partial.open("w", newline="") as table:
        writer = csv.writer(table, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for done, file in enumerate(files, start=1):
            writer.writerow([file.relative_to(raw).as_posix(), file.stat().st_size, sha256_of(file), *told])
            progress.step(done)


def _copy(mirror: Path, raw: Path) -> None:
    if not mirror.is_dir():
        raise BadInput(
            f"{mirror}: expected the dataset in the mirror, but there is no such folder; correct the mirror."
        )
    PROGRESS.info("Copying from the mirror %s", mirror.name)
    for file in sorted(mirror.rglob("*")):
        copy = raw / file.relative_to(mirror)
        if file.is_file() and not (copy.exists() and sha256_of(copy) == sha256_of(file)):
            with atomic_path(copy) as partial:
                shutil.copyfile(file, partial)
