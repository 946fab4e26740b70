"""Manifests: path, size and hash of every fetched file, written after a fetch and compared at later ones."""

import csv
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_path
from diffufuse.files.digests import sha256_of
from diffufuse.logs import Progress

COLUMNS = ("path", "bytes", "sha256", "source")
NAMES_LISTED = 5


@dataclass(frozen=True)
class Content:
    """Size and hash of a file.

    Attributes:
        bytes: length of the file.
        sha256: of its content, in hexadecimal.
    """

    bytes: int
    sha256: str


def reference_of(raw: Path) -> Path:
    """Path of the first fetch's manifest, a hidden file beside the raw folder that no workflow rule deletes."""
    return raw.with_name(f".{raw.name}.manifest.tsv")


def contents_of(raw: Path, names: Iterable[str] | None = None) -> dict[str, Content]:
    """Hash the files of a raw folder in parallel.

    Args:
        raw: the raw folder; names that begin with a dot are ignored.
        names: paths below the raw folder; None for all files.

    Returns:
        Path below the raw folder → content, sorted by path.
    """
    paths = [raw / name for name in names] if names is not None else [path for path in raw.rglob("*") if path.is_file()]
    relative = {path.relative_to(raw): path for path in paths}
    shown = {name.as_posix(): path for name, path in relative.items() if not any(part[0] == "." for part in name.parts)}
    sizes = {name: path.stat().st_size for name, path in shown.items()}
    progress, done, contents = Progress(f"Hash {raw.name}", sum(sizes.values()), unit="bytes"), 0, {}
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        order = sorted(shown)
        for name, digest in zip(order, threads.map(sha256_of, [shown[name] for name in order]), strict=True):
            contents[name] = Content(sizes[name], digest)
            done += sizes[name]
            progress.step(done)
    return contents


def write_manifest(path: str | os.PathLike[str], contents: Mapping[str, Content], *, address: str) -> None:
    """Write one row per raw file: path, bytes, SHA-256, public source.

    License and citation are not included, so that editing them does not change any result.

    Args:
        path: the manifest, tab-separated.
        contents: of the raw folder.
        address: public source of the data, also if it was copied from a mirror.
    """
    with atomic_path(path) as partial, partial.open("w", newline="") as table:
        writer = csv.writer(table, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, content in sorted(contents.items()):
            writer.writerow([name, content.bytes, content.sha256, address])


def read_manifest(path: str | os.PathLike[str], folders: Iterable[str] | None = None) -> tuple[dict[str, Content], str]:
    """Read a manifest.

    Args:
        path: from `write_manifest`; the columns `license` and `citation` of an earlier release are ignored.
        folders: paths below the raw folder; only rows of their files are parsed, so that the time for one case does
            not depend on the number of cases. None for all rows.

    Returns:
        Path below the raw folder → content; and the source address of the data.

    Raises:
        BadInput: the file is no manifest.
    """
    try:
        text = Path(path).read_text()
        lines = text.splitlines() if folders is None else _lines_about(folders, text)
        rows = list(csv.DictReader(lines, delimiter="\t"))
        contents = {row["path"]: Content(int(row["bytes"]), row["sha256"]) for row in rows}
        [address] = {row["source"] for row in rows} or {""}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise BadInput(
            f"{path}: expected a manifest, got another or a damaged file; remove it and fetch again."
        ) from error
    return contents, address


def missing_after(raw: Path, current: Mapping[str, Content], expected: Mapping[str, Content]) -> list[str]:
    """Compare a raw folder with the manifest of its first fetch.

    Args:
        raw: the raw folder.
        current: its current contents.
        expected: its contents after the first fetch.

    Returns:
        The missing files.

    Raises:
        BadInput: a file was changed or added.
    """
    missing = sorted(expected.keys() - current.keys())
    changed = sorted(name for name in expected.keys() & current.keys() if current[name] != expected[name])
    extra = sorted(current.keys() - expected.keys())
    if changed or extra:
        raise BadInput(
            f"{raw}: expected the files of the first fetch, got "
            f"{_summary(changed=changed, missing=missing, extra=extra)}; remove what was changed or added and fetch "
            f"again, or remove {raw.name} and {reference_of(raw).name} to begin anew."
        )
    return missing


def require_unchanged(
    manifest: str | os.PathLike[str], files: Iterable[Path], *, owns: Callable[[str], bool] = lambda _: False
) -> None:
    """Require that the raw files of a case are those that were fetched.

    Args:
        manifest: of the dataset.
        files: current files of the case.
        owns: whether a path below the raw folder belongs to this case, to report missing files.

    Raises:
        BadInput: a file is not in the manifest, was changed, or is missing.
    """
    raw = raw_folder_of(manifest)
    names = sorted(Path(file).relative_to(raw).as_posix() for file in files)
    folders = {os.path.dirname(name) for name in names}
    expected, _ = read_manifest(manifest, folders)
    unknown = [name for name in names if name not in expected]
    changed = [name for name, content in contents_of(raw, names).items() if content != expected.get(name, content)]
    missing = [name for name in expected if owns(name) and not (raw / name).exists()]
    if unknown or changed or missing:
        raise BadInput(
            f"{raw}: expected files as in {Path(manifest).name}, got "
            f"{_summary(changed=changed, missing=missing, extra=unknown)}; put them back, or fetch again."
        )


def _lines_about(folders: Iterable[str], text: str) -> list[str]:
    """The header, and the lines with a path below one of the folders, which are contiguous as paths are sorted."""
    lines = [text.partition("\n")[0]]
    for folder in sorted(folders):
        start = f"{folder}/" if folder else ""
        place = text.find(f"\n{start}") + 1
        while place and place < len(text) and text.startswith(start, place):
            end = text.find("\n", place)
            lines.append(text[place:end])
            place = end + 1
    return lines


def _summary(**differences: list[str]) -> str:
    """A phrase with the number of files per kind of difference, and the names of the first ones."""
    some = {how: ", ".join(names[:NAMES_LISTED]) for how, names in differences.items() if names}
    more = {how: ", ..." if len(differences[how]) > NAMES_LISTED else "" for how in some}
    return " and ".join(f"{len(differences[how])} {how} ({some[how]}{more[how]})" for how in some)


def raw_folder_of(manifest: str | os.PathLike[str]) -> Path:
    """The raw folder that a manifest describes: `phantom` beside `phantom.manifest.tsv`."""
    return Path(manifest).with_name(Path(manifest).name.removesuffix(".manifest.tsv"))
