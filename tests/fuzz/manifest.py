"""Damaged manifests: of a dataset, as the ingestion of a case reads it, and of its first fetch, as a later one does."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from diffufuse.fetch.dataset import fetch_dataset
from diffufuse.fetch.manifest import contents_of, read_manifest, require_unchanged, write_manifest
from fuzz import Target

FILES = ["P_1/1.dcm", "P_1/2.dcm", "P_2/2.dcm", "Müller 3/1.dcm", "README"]
SOURCE = {"kind": "copy", "mirror": "copy"}


@cache
def manifest_of_files() -> bytes:
    """The manifest of a copy, written once, as each is synced to the disk."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        written(folder, "set")
        write_manifest(folder / "set.manifest.tsv", contents_of(folder / "set"), address="copy")
        return (folder / "set.manifest.tsv").read_bytes()


def written(folder: Path, *places: str) -> None:
    for name in FILES:
        for place in places:
            (folder / place / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / place / name).write_text(name)


def fetched(folder: Path) -> None:
    """A copy that was fetched."""
    written(folder, "copy", "set")
    for name in ("set.manifest.tsv", ".set.manifest.tsv"):
        (folder / name).write_bytes(manifest_of_files())


def read(folder: Path) -> Mapping[str, object]:
    manifest, case = folder / "set.manifest.tsv", [folder / "set/P_1/1.dcm", folder / "set/P_1/2.dcm"]
    require_unchanged(manifest, case, owns=lambda path: path.startswith("P_1/"))
    return {"all": read_manifest(manifest), "of a case": read_manifest(manifest, ["P_1"])}


def fetched_again(folder: Path) -> Mapping[str, object]:
    """A later fetch, after a file was lost."""
    (folder / "set/P_2/2.dcm").unlink()
    fetch_dataset(SOURCE, folder / "set.manifest.tsv", mirror=str(folder), study_seed=1)
    return {"manifest": (folder / "set.manifest.tsv").read_bytes(), "raw": contents_of(folder / "set")}


TARGETS = [
    Target("manifest", fetched, "set.manifest.tsv", read),
    Target("manifest of the first fetch", fetched, ".set.manifest.tsv", fetched_again),
]
