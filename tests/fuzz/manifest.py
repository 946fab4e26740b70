"""Damaged manifests: of a dataset, as the ingestion of a case reads it, and of its first fetch, as a later one does."""

from collections.abc import Mapping
from pathlib import Path

from diffufuse.fetch.dataset import fetch_dataset
from diffufuse.fetch.manifest import contents_of, read_manifest, require_unchanged, write_manifest
from fuzz import Target

FILES = [f"P_{number}/{name}.dcm" for number in range(3) for name in ("1", "2")] + ["Müller 3/1.dcm", "README"]
SOURCE = {"kind": "copy", "mirror": "copy"}


def fetched(folder: Path) -> None:
    """A copy that was fetched, and then lost a file."""
    for name in FILES:
        for place in ("copy", "set"):
            (folder / place / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / place / name).write_text(name)
    for name in ("set.manifest.tsv", ".set.manifest.tsv"):
        write_manifest(folder / name, contents_of(folder / "set"), address="copy")


def read(folder: Path) -> Mapping[str, object]:
    manifest, case = folder / "set.manifest.tsv", [folder / "set/P_1/1.dcm", folder / "set/P_1/2.dcm"]
    require_unchanged(manifest, case, owns=lambda path: path.startswith("P_1/"))
    return {"all": read_manifest(manifest), "of a case": read_manifest(manifest, ["P_1"])}


def fetched_again(folder: Path) -> Mapping[str, object]:
    (folder / "set/P_2/2.dcm").unlink(missing_ok=True)
    fetch_dataset(SOURCE, folder / "set.manifest.tsv", mirror=str(folder), study_seed=1)
    return {"manifest": (folder / "set.manifest.tsv").read_bytes(), "raw": contents_of(folder / "set")}


TARGETS = [
    Target("manifest", fetched, "set.manifest.tsv", read),
    Target("manifest of the first fetch", fetched, ".set.manifest.tsv", fetched_again),
]
