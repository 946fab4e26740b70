"""Compare the files of a raw folder with the manifest of their fetch."""

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from diffufuse.errors import BadInput
from diffufuse.fetch.rows import Content, read_manifest, write_manifest
from diffufuse.files.digests import sha256_of
from diffufuse.files.names import first_of
from diffufuse.files.tree import files_below
from diffufuse.logs import Progress

__all__ = [
    "Content",
    "contents_of",
    "missing_after",
    "raw_folder_of",
    "read_manifest",
    "reference_of",
    "require_unchanged",
    "write_manifest",
]


def reference_of(raw: Path) -> Path:
    """Path of the first fetch's manifest, a hidden file beside the raw folder that no workflow rule deletes."""
    return raw.with_name(f".{raw.name}.manifest.tsv")


def contents_of(raw: Path, names: Iterable[str] | None = None) -> dict[str, Content]:
    """Hash the files of a raw folder in parallel.

    Args:
        raw: the raw folder; hidden names are ignored, links are followed.
        names: paths below the raw folder; None for all files.

    Returns:
        Path below the raw folder → content, sorted by path.

    Raises:
        BadInput: something in the folder cannot be read.
    """
    paths = files_below(raw) if names is None else [raw / name for name in names]
    shown = {path.relative_to(raw).as_posix(): path for path in paths}
    sizes = {name: path.stat().st_size for name, path in shown.items()}
    progress, done, contents = Progress(f"Hash {raw.name}", sum(sizes.values()), unit="bytes"), 0, {}
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        order = sorted(shown)
        for name, digest in zip(order, threads.map(sha256_of, [shown[name] for name in order]), strict=True):
            contents[name] = Content(sizes[name], digest)
            done += sizes[name]
            progress.step(done)
    return contents


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


def _summary(**differences: list[str]) -> str:
    """A phrase with the number of files per kind of difference, and the names of the first ones."""
    return " and ".join(f"{len(names)} {how} ({first_of(names)})" for how, names in differences.items() if names)


def raw_folder_of(manifest: str | os.PathLike[str]) -> Path:
    """The raw folder that a manifest describes: `phantom` beside `phantom.manifest.tsv`."""
    return Path(manifest).with_name(Path(manifest).name.removesuffix(".manifest.tsv"))
