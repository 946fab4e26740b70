"""Describe a fetch without doing it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.fetch.disk import download_folder, holds_files
from diffufuse.fetch.extent import Extent
from diffufuse.fetch.manifest import read_manifest, reference_of
from diffufuse.fetch.sources import SOURCES
from diffufuse.fetch.sources.copy import bytes_of, find_mirror
from diffufuse.logs import PROGRESS, bytes_text, free_bytes


def log_plan(datasets: Mapping[str, Mapping[str, Any]], data: Path, *, mirror: str | None) -> None:
    """Log source, size, license and terms of a fetch of each dataset, and the free disk space.

    No file is written. The network is used only for the length of archives for which it is not configured.

    Args:
        datasets: name → block of `config/datasets.yaml`.
        data: parent of the raw folders.
        mirror: a local folder with copies of public data, or None.
    """
    for name, block in datasets.items():
        PROGRESS.info("%s", "\n      ".join(plan_lines(block, data / name, mirror=mirror)))
    PROGRESS.info("free disk: %s", bytes_text(free_bytes(data)))


def plan_lines(block: Mapping[str, Any], raw: Path, *, mirror: str | None) -> list[str]:
    """Describe the fetch of one dataset.

    Args:
        block: the dataset's block of `config/datasets.yaml`.
        raw: its raw folder; need not exist.
        mirror: a local folder with copies of public data, or None.

    Returns:
        Lines of text.
    """
    source = block["source"]
    kind = SOURCES[source["kind"]]
    origin, extent = _from_mirror(mirror, source) or (kind.address(source), kind.extent(source))
    differs = extent.license and extent.license != block["license"]
    return [
        f"{raw.name}: {block['title']}",
        f"from: {origin}",
        f"size: {_count(extent.cases, 'cases')}, {_count(extent.series, 'series')}, {_size_text(extent.bytes)}",
        f"license: {block['license']}{f' (the source says {extent.license})' if differs else ''}",
        f"citation: {block['citation']}",
        f"terms: {block.get('terms', 'none to accept')}",
        f"here: {_state(raw)}",
    ]


def _from_mirror(mirror: str | None, source: Mapping[str, Any]) -> tuple[str, Extent] | None:
    if not mirror or "mirror" not in source:
        return None
    try:
        local_copy = find_mirror(Path(mirror), source)
        size = bytes_of(local_copy, only=source.get("only"))
    except BadInput as error:
        return f"nowhere: {error}", Extent()
    return f"the copy {local_copy.relative_to(mirror)} of the mirror", Extent(cases=source.get("cases"), bytes=size)


def _count(number: int | None, what: str) -> str:
    return f"{what} unknown" if number is None else f"{number:,} {what}"


def _size_text(number: int | None) -> str:
    return "bytes unknown before it is asked for" if number is None else bytes_text(number)


def _state(raw: Path) -> str:
    if reference_of(raw).exists():
        contents, _ = read_manifest(reference_of(raw), unsigned=True)
        missing = sum(not (raw / name).exists() for name in contents)
        size = bytes_text(sum(content.bytes for content in contents.values()))
        return f"fetched, {len(contents):,} files, {size}" + (f", {missing:,} of them gone" if missing else "")
    begun = any(holds_files(folder) for folder in (raw, download_folder(raw)) if folder.is_dir())
    return "begun, a fetch goes on from what is whole" if begun else "no"
