"""Raw folders that lie elsewhere: behind links, and on disks of their own."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hosts import Page, host
from test_fetching import FILES, below, found, source, written, zipped

from diffufuse.errors import BadInput
from diffufuse.fetch.dataset import fetch_dataset
from diffufuse.fetch.disk import download_folder
from diffufuse.fetch.manifest import reference_of
from diffufuse.fetch.sources import SOURCES, idc, synapse


@pytest.fixture
def server():
    with host() as running:
        running.pages["/a.zip"] = Page(zipped(below("repo/validation/nifti")))
        yield running


@pytest.fixture
def raw(tmp_path):
    """`data/raw/sts`, a link to a folder elsewhere."""
    (tmp_path / "disk/sts").mkdir(parents=True)
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/sts").symlink_to(tmp_path / "disk/sts")
    return tmp_path / "data/raw/sts"


def fetch(block, raw, mirror=None):
    fetch_dataset(block, f"{raw}.manifest.tsv", mirror=mirror and str(mirror), study_seed=1)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def archives_of(monkeypatch, tmp_path, entities):
    """Synapse without Synapse: what its client would have downloaded."""

    def downloaded(wanted, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for entity in wanted:
            (folder / f"{entity}.zip").write_bytes(zipped(FILES))
        return [folder / f"{entity}.zip" for entity in wanted]

    monkeypatch.setattr(synapse, "_downloaded", downloaded)
    return {"kind": "synapse", "entities": entities}


def series_of(monkeypatch):
    """The commons without the commons: one series of two instances."""
    one = idc.Series("STS_001", "PT", "1.2.3", "0000", files=2, bytes=4, license="", address="s3://bucket/0000/*")

    def run(batch, staging):
        for series in batch:
            written(staging / series.identifier, {"0.dcm": b"ab", "1.dcm": b"cd"})

    monkeypatch.setattr(idc, "_listed", lambda source: [one])
    monkeypatch.setattr(idc, "_run_downloader", run)
    return {"kind": "idc", "collection": "x"}


def of_every_source(kind, server, tmp_path, monkeypatch):
    """A block, its mirror, and what the raw folder must hold."""
    if kind in ("folder", "copy.zip"):
        written(tmp_path / "mirror/folder")
        (tmp_path / "mirror/copy.zip").write_bytes(zipped(FILES))
        return {"kind": "copy", "mirror": kind}, tmp_path / "mirror", FILES
    if kind == "idc":
        return series_of(monkeypatch), None, {"STS_001/PT_0000/0.dcm": b"ab", "STS_001/PT_0000/1.dcm": b"cd"}
    if kind == "synapse":
        return archives_of(monkeypatch, tmp_path, ["syn1"]), None, FILES
    if kind == "synapse, two":
        block = archives_of(monkeypatch, tmp_path, ["syn1", "syn2"])
        return block, None, below("syn1") | below("syn2")
    return source(server), None, FILES


KINDS = ["archive", "folder", "copy.zip", "idc", "synapse", "synapse, two"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_raw_folder_may_be_a_link(server, tmp_path, raw, monkeypatch, kind):
    block, mirror, files = of_every_source(kind, server, tmp_path, monkeypatch)
    for _ in range(2):
        fetch(block, raw, mirror)
        assert raw.is_symlink()
        assert found(tmp_path / "disk/sts") == files
        assert names(tmp_path / "disk") == ["sts"]
        assert names(raw.parent) == [".sts.manifest.tsv", "sts", "sts.manifest.tsv"]
        Path(f"{raw}.manifest.tsv").unlink()
        next(path for path in raw.rglob("*") if path.is_file()).unlink()


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_of_all_raw_folders_may_be_a_link(server, tmp_path, monkeypatch, kind):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(tmp_path / "disk")
    block, mirror, files = of_every_source(kind, server, tmp_path, monkeypatch)
    fetch(block, tmp_path / "data/raw/sts", mirror)
    assert found(tmp_path / "disk/sts") == files
    assert names(tmp_path / "disk") == [".sts.manifest.tsv", "sts", "sts.manifest.tsv"]


def test_phantoms_are_made_anew_behind_a_link(tmp_path, raw, monkeypatch):
    def make(folder, truth, *, patients, study_seed):
        written(folder, {"PH-001/PT/1.dcm": b"made"})

    monkeypatch.setattr("diffufuse.phantom.write_phantom_cohort", make)
    for _ in range(2):
        fetch({"kind": "phantom", "patients": 1}, raw)
        assert found(tmp_path / "disk") == {"sts/PH-001/PT/1.dcm": b"made"}


def test_downloads_wait_on_the_disk_where_the_data_goes(tmp_path, raw):
    assert download_folder(raw) == tmp_path / "disk/.sts.download"


def test_a_link_may_lead_to_a_folder_that_is_yet_to_be_made_but_not_to_a_disk_that_is_away(server, tmp_path, raw):
    (tmp_path / "disk/sts").rmdir()
    fetch(source(server), raw)
    assert found(tmp_path / "disk/sts") == FILES
    shutil.rmtree(tmp_path / "disk")
    reference_of(raw).unlink()
    with pytest.raises(BadInput, match=r"raw/sts: expected a link to a folder on a disk that is there, .* mount"):
        fetch(source(server), raw)
    assert not (tmp_path / "disk").exists()


def test_a_file_in_the_place_of_the_raw_folder_is_told(server, tmp_path):
    (tmp_path / "sts").write_text("")
    with pytest.raises(BadInput, match="sts: expected a folder for raw data, got a file"):
        fetch(source(server), tmp_path / "sts")


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_to_files_that_no_fetch_brought_costs_none_of_them(server, tmp_path, raw, monkeypatch, kind):
    (tmp_path / "disk/sts/my only copy").write_text("precious")
    block, mirror, _ = of_every_source(kind, server, tmp_path, monkeypatch)
    with pytest.raises(BadInput, match="expected an empty folder behind the link, but it holds files"):
        fetch(block, raw, mirror)
    assert found(tmp_path / "disk/sts") == {"my only copy": b"precious"}


def test_files_that_were_brought_by_hand_after_a_fetch_that_failed_are_not_lost(server, tmp_path, raw):
    with pytest.raises(BadInput, match="HTTP 404"):
        fetch(source(server, url=f"{server.url}/absent.zip"), raw)
    (tmp_path / "disk/sts/by hand").write_text("precious")
    with pytest.raises(BadInput, match="holds files that no fetch has brought"):
        fetch(source(server), raw)
    assert found(tmp_path / "disk/sts") == {"by hand": b"precious"}


def test_a_killed_fetch_behind_a_link_goes_on(server, tmp_path, raw, monkeypatch):
    def killed(*arguments, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("diffufuse.fetch.dataset.write_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch(source(server), raw)
    assert found(raw) == FILES
    fetch(source(server), raw)
    assert found(raw) == FILES


ON_A_DISK_OF_ITS_OWN = """
import sys
from pathlib import Path
from diffufuse.fetch.dataset import fetch_dataset
root, name, url = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
block = {"kind": "archive", "url": url}
for _ in range(2):
    fetch_dataset(block, root / f"{name}.manifest.tsv", mirror=None, study_seed=1)
    print(*sorted(path.relative_to(root / name).as_posix() for path in (root / name).rglob("*")), flush=True)
    (root / name / "a.nii.gz").unlink()
"""


@pytest.mark.skipif(
    not shutil.which("unshare")
    or subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode,
    reason="a disk of its own cannot be mounted here",
)
@pytest.mark.parametrize("name", ["mount", "link"])
def test_a_raw_folder_may_be_a_disk_of_its_own_or_a_link_to_one(tmp_path, name):
    (tmp_path / "mount").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mount")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("a.nii.gz", b"a")
        archive.writestr("b/b.nii.gz", b"b")
    with host() as server:
        server.pages["/z.zip"] = Page((tmp_path / "z.zip").read_bytes())
        code = tmp_path / "code.py"
        code.write_text(ON_A_DISK_OF_ITS_OWN)
        script = (
            f"mount -t tmpfs -o size=2M tmpfs {tmp_path}/mount && "
            f"{sys.executable} {code} {tmp_path} {name} {server.url}/z.zip"
        )
        done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["a.nii.gz b b/b.nii.gz"] * 2, done.stderr


def test_where_nothing_may_stand_beside_a_folder_the_download_waits_inside(tmp_path, monkeypatch, server):
    (tmp_path / "owned by root/sts").mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "owned by root")
    (tmp_path / "sts").symlink_to(tmp_path / "owned by root/sts")
    assert download_folder(tmp_path / "sts") == tmp_path / "owned by root/sts/.download"
    fetch(source(server), tmp_path / "sts")
    assert found(tmp_path / "sts") == FILES
    assert names(tmp_path / "owned by root") == ["sts"]


def test_every_source_was_tried():
    assert {kind.partition(",")[0] for kind in KINDS} | {"copy", "phantom"} >= set(SOURCES)
