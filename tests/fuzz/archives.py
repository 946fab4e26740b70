"""Damaged archives, unpacked as a fetch does, and the cases that are listed in them."""

import io
import random
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from diffufuse.fetch.unpacking import unpack
from diffufuse.files.tree import files_below
from diffufuse.ingest.formats import nifti
from fuzz import Target

BLOCK = {
    "reference": "t1",
    "modalities": {"t1": {"file": ["{case}/t1.nii.gz"]}},
    "annotation": {"file": ["{case}/seg.nii.gz"]},
}
DRAW = random.Random(0)
FILES = {
    f"set/data/{case}/{name}.nii.gz": DRAW.randbytes(100) + b"0" * 100
    for case in ("P_1", "P_2", "Müller 3")
    for name in ("t1", "seg")
} | {"set/LICENSE": b"text", "set/data/README": b"text"}


def zipped(folder: Path) -> None:
    with zipfile.ZipFile(folder / "archive", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (name, content) in enumerate(FILES.items()):
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_STORED if number % 2 else zipfile.ZIP_DEFLATED
            archive.writestr(info, content)


def tarred(mode: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        with tarfile.open(folder / "archive", mode, format=tarfile.GNU_FORMAT) as archive:
            for name, content in FILES.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))

    return make


def unpacked(folder: Path) -> Mapping[str, object]:
    raw = folder / "raw"
    unpack(folder / "archive", raw, folder="data", only=["P_*", "M*"])
    contents = {path.relative_to(raw): path.read_bytes() for path in files_below(raw)}
    return {
        "names": {name: len(content) for name, content in contents.items()},
        "content": contents,
        "cases": nifti.list_cases(raw, BLOCK),
    }


TARGETS = [
    Target("archive: zip", zipped, "archive", unpacked),
    Target("archive: tar.gz", tarred("w:gz"), "archive", unpacked),
    Target("archive: tar", tarred("w"), "archive", unpacked, unprotected=("content",)),
]
