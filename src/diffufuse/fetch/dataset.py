"""Fetch the raw files of a dataset and write its manifest."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.fetch.content import holds_pinned, require_content
from diffufuse.fetch.disk import (
    begin_fetch,
    download_folder,
    empty_folder,
    forget_fetch,
    holds_files,
    make_raw_folder,
    unusable_disk_reported,
)
from diffufuse.fetch.manifest import (
    Content,
    contents_of,
    missing_after,
    raw_folder_of,
    read_manifest,
    reference_of,
    write_manifest,
)
from diffufuse.fetch.rows import may_be_cut
from diffufuse.fetch.sources import SOURCES, copy
from diffufuse.files.atomic import flush_tree
from diffufuse.logs import PROGRESS


def fetch_dataset(
    source: Mapping[str, Any],
    manifest: str | os.PathLike[str],
    *,
    mirror: str | None,
    study_seed: int,
) -> None:
    """Fill a dataset's raw folder from its source, or from a mirror where one is given, and write its manifest.

    The manifest of the first fetch is kept beside the raw folder as `.{dataset}.manifest.tsv`. Later fetches compare
    all files with it: missing files are fetched again and must be identical, changed or added files are an error, and
    if nothing differs, the network is not used. A phantom is always generated anew. The content of a first fetch must
    match `content_sha256` in the dataset's block, if given.

    Args:
        source: the dataset's `source` in `config/datasets.yaml`.
        manifest: `data/raw/{dataset}.manifest.tsv`, beside the raw folder or a link to it.
        mirror: a local folder with copies of public data, or None.
        study_seed: seed for sources that generate their data.

    Raises:
        BadInput: the source is not available or differs from the pinned content, files of the raw folder were changed
            or added after the first fetch, or something on the disk cannot be read or written.
    """
    raw, address = raw_folder_of(manifest), SOURCES[source["kind"]].address(source)
    with unusable_disk_reported(raw):
        make_raw_folder(raw)
        contents = _fetched(source, raw, address, mirror, study_seed)
        if source["kind"] != "phantom":
            write_manifest(reference_of(raw), contents, address=address)
        write_manifest(manifest, contents, address=address)
    shutil.rmtree(download_folder(raw), ignore_errors=True)


def _fetched(
    source: Mapping[str, Any], raw: Path, address: str, mirror: str | None, study_seed: int
) -> dict[str, Content]:
    """The contents of the raw folder after a first fetch, or after they were compared with it."""
    expected = None if source["kind"] == "phantom" else _first_fetch(raw, source, address)
    if expected is not None:
        return _checked(source, raw, expected, mirror, study_seed)
    _fetch_first(source, raw, mirror, study_seed)
    contents = contents_of(raw)
    if not contents:
        raise BadInput(f"{raw}: expected the dataset's files, but the folder is empty; fetch it again.")
    return contents


def _first_fetch(raw: Path, source: Mapping[str, Any], address: str) -> dict[str, Content] | None:
    """The contents of the first fetch, None before it; after a change of address, the content must be as pinned."""
    if not reference_of(raw).exists():
        return None
    expected, before = read_manifest(reference_of(raw), unsigned=True)
    if may_be_cut(reference_of(raw)) and contents_of(raw) != expected:
        raise BadInput(
            f"{reference_of(raw)}: expected a manifest of the files in {raw.name} that ends with a hash of itself, got "
            "other files and no hash; it was cut off, or is of an earlier release; remove it to begin anew."
        )
    if before != address and not holds_pinned(raw, source):
        raise BadInput(
            f"{raw}: expected the data of {address}, but it holds that of {before}; remove {raw.name} and "
            f"{reference_of(raw).name} to fetch from the new source."
        )
    return expected


def _fetch_first(source: Mapping[str, Any], raw: Path, mirror: str | None, study_seed: int) -> None:
    """Fill the raw folder; if its content is not as pinned, remove it and the download."""
    was_empty = not holds_files(raw)
    if source["kind"] != "phantom":
        begin_fetch(raw)
    try:
        _fill(source, raw, mirror, study_seed)
        _require_content(source, raw, was_empty)
    finally:
        if not holds_files(raw):
            forget_fetch(raw)


def _require_content(source: Mapping[str, Any], raw: Path, was_empty: bool) -> None:
    try:
        require_content(raw, source)
    except BadInput:
        shutil.rmtree(download_folder(raw), ignore_errors=True)
        if was_empty:
            empty_folder(raw)
        raise


def _checked(
    source: Mapping[str, Any], raw: Path, expected: Mapping[str, Content], mirror: str | None, study_seed: int
) -> dict[str, Content]:
    contents = contents_of(raw)
    missing = missing_after(raw, contents, expected)
    if not missing:
        PROGRESS.info(
            "%s is as it was after its first fetch, %d files; what its source has gained since, or the block asks now, "
            "is fetched after %s and %s are removed",
            *(raw.name, len(contents), raw.name, reference_of(raw).name),
        )
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
        local_copy = copy.find_mirror(Path(mirror), source)
        copy.bring(local_copy, raw, folder=source.get("folder"), only=source.get("only"))
    else:
        SOURCES[source["kind"]].fetch(raw, source, study_seed=study_seed)
    flush_tree(raw)
