"""Bring a dataset's raw files into place and write down what they are."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.fetch.disk import download_folder
from diffufuse.fetch.manifest import (
    Content,
    contents_of,
    missing_after,
    raw_folder_of,
    read_manifest,
    reference_of,
    write_manifest,
)
from diffufuse.fetch.sources import SOURCES, copy
from diffufuse.logs import PROGRESS


def fetch_dataset(
    source: Mapping[str, Any],
    manifest: str | os.PathLike[str],
    *,
    mirror: str | None,
    study_seed: int,
    license: str,
    citation: str,
) -> None:
    """Fill a dataset's raw folder from its source, or from a mirror where one is given, and write its manifest.

    The manifest of the first fetch is kept beside the raw folder as `.{dataset}.manifest.tsv`. Every later fetch hashes
    all files against it: what is gone is fetched again and must come back equal, what was changed or added is refused,
    and where all is as it was, no network is touched. A phantom is made anew instead.

    Args:
        source: the dataset's `source` in `config/datasets.yaml`.
        manifest: `data/raw/{dataset}.manifest.tsv`; the raw folder lies beside it.
        mirror: a local folder with copies of public data, or None.
        study_seed: for sources that make their data.
        license: under which the data may be used.
        citation: what to cite.

    Raises:
        BadInput: the source cannot be had, or the raw folder is not as it was after the first fetch.
    """
    raw, address = raw_folder_of(manifest), SOURCES[source["kind"]].address(source)
    raw.mkdir(parents=True, exist_ok=True)
    expected = None if source["kind"] == "phantom" else _first_fetch(raw, address)
    if expected is None:
        _fill(source, raw, mirror, study_seed)
        contents = contents_of(raw)
    else:
        contents = _checked(source, raw, expected, mirror, study_seed)
    if not contents:
        raise BadInput(f"{raw}: expected the dataset's files, but the folder is empty; fetch it again.")
    told = {"address": address, "license": license, "citation": citation}
    if source["kind"] != "phantom":
        write_manifest(reference_of(raw), contents, **told)
    write_manifest(manifest, contents, **told)
    shutil.rmtree(download_folder(raw), ignore_errors=True)


def _first_fetch(raw: Path, address: str) -> dict[str, Content] | None:
    if not reference_of(raw).exists():
        return None
    expected, before = read_manifest(reference_of(raw))
    if before != address:
        raise BadInput(
            f"{raw}: expected the data of {address}, but it holds that of {before}; remove {raw.name} and "
            f"{reference_of(raw).name} to fetch from the new source."
        )
    return expected


def _checked(
    source: Mapping[str, Any], raw: Path, expected: Mapping[str, Content], mirror: str | None, study_seed: int
) -> dict[str, Content]:
    contents = contents_of(raw)
    missing = missing_after(raw, contents, expected)
    if not missing:
        PROGRESS.info("%s is as it was after its first fetch, %d files", raw.name, len(contents))
    else:
        PROGRESS.info("%d of %d files of %s are gone; fetching them again", len(missing), len(expected), raw.name)
        _fill(source, raw, mirror, study_seed)
        contents = contents_of(raw)
        if missing_after(raw, contents, expected):
            raise BadInput(
                f"{raw}: expected the files of the first fetch, but the source no longer holds {missing[0]}; remove "
                f"{raw.name} and {reference_of(raw).name} to begin anew."
            )
    return contents


def _fill(source: Mapping[str, Any], raw: Path, mirror: str | None, study_seed: int) -> None:
    if mirror and "mirror" in source:
        found = copy.find_mirror(Path(mirror), source)
        copy.bring(found, raw, folder=source.get("folder"), only=source.get("only"))
    else:
        SOURCES[source["kind"]].fetch(raw, source, study_seed=study_seed)
