"""What a fetch would do, told before it does anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffufuse.errors import BadInput
from diffufuse.fetch.disk import download_folder, free_bytes, holds_files
from diffufuse.fetch.extent import Extent
from diffufuse.fetch.manifest import read_manifest, reference_of
from diffufuse.fetch.sources import SOURCES
from diffufuse.fetch.sources.copy import bytes_of, find_mirror
from diffufuse.logs import PROGRESS, bytes_text


def tell_plan(datasets: Mapping[str, Mapping[str, Any]], data: Path, *, mirror: str | None) -> None:
    """Tell of each dataset what a fetch would bring, under which terms, and whether there is room.

    Nothing is written. The network is asked only for the length of an archive whose publisher does not state it.

    Args:
        datasets: name to block of `config/datasets.yaml`.
        data: the folder of the raw folders.
        mirror: a local folder with copies of public data, or None.
    """
    for name, block in datasets.items():
        PROGRESS.info("%s", "\n      ".join(plan_lines(block, data / name, mirror=mirror)))
    PROGRESS.info("free disk: %s", bytes_text(free_bytes(data)))


def plan_lines(block: Mapping[str, Any], raw: Path, *, mirror: str | None) -> list[str]:
    """What a fetch of one dataset would bring.

    Args:
        block: the dataset's block of `config/datasets.yaml`.
        raw: its raw folder; need not exist.
        mirror: a local folder with copies of public data, or None.

    Returns:
        Lines for a person.
    """
    source = block["source"]
    kind = SOURCES[source["kind"]]
    origin, extent = _from_mirror(mirror, source) or (kind.address(source), kind.extent(source))
    differs = extent.license and extent.license != block["license"]
    return [
        f"{raw.name}: {block['title']}",
        f"from: {origin}",
        f"size: {_count(extent.cases, 'cases')}, {_count(extent.series, 'series')}, {_bytes_told(extent.bytes)}",
        f"license: {block['license']}{f' (the source says {extent.license})' if differs else ''}",
        f"citation: {block['citation']}",
        f"terms: {block.get('terms', 'none to accept')}",
        f"here: {_state(raw)}",
    ]


def _from_mirror(mirror: str | None, source: Mapping[str, Any]) -> tuple[str, Extent] | None:
    if not mirror or "mirror" not in source:
        return None
    try:
        found = find_mirror(Path(mirror), source)
    except BadInput as error:
        return f"nowhere: {error}", Extent()
    size = bytes_of(found, only=source.get("only"))
    return f"the copy {found.relative_to(mirror)} of the mirror", Extent(cases=source.get("cases"), bytes=size)


def _count(number: int | None, what: str) -> str:
    return f"{what} unknown" if number is None else f"{number:,} {what}"


def _bytes_told(number: int | None) -> str:
    return "bytes unknown before it is asked for" if number is None else bytes_text(number)


def _state(raw: Path) -> str:
    if reference_of(raw).exists():
        contents, _ = read_manifest(reference_of(raw))
        missing = sum(not (raw / name).exists() for name in contents)
        size = bytes_text(sum(content.bytes for content in contents.values()))
        return f"fetched, {len(contents):,} files, {size}" + (f", {missing:,} of them gone" if missing else "")
    begun = any(holds_files(folder) for folder in (raw, download_folder(raw)) if folder.is_dir())
    return "begun, a fetch goes on from what is whole" if begun else "no"
