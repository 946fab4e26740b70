"""Archives that are not to be trusted, and disks that are full."""

import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from hosts import Page, host

from diffufuse.errors import BadInput
from diffufuse.fetch import unpacking
from diffufuse.fetch.disk import FullDisk, full_disk_reported, staged_folder
from diffufuse.fetch.unpacking import unpack

FILES = {"a/1.nii.gz": b"one", "a/2.nii.gz": b"two" * 1000}


def zip_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tar_of(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for member in members:
            info, data = member if isinstance(member, tuple) else (member, None)
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            if data is not None:
                info.size = len(data)
            archive.addfile(info, None if data is None else io.BytesIO(data))
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def found(raw):
    return {path.relative_to(raw).as_posix(): path.read_bytes() for path in raw.rglob("*") if path.is_file()}


def test_zip_and_tar_of_every_compression_unpack_alike(tmp_path):
    archives = [zip_of(tmp_path / "z.zip", FILES)]
    archives += [tar_of(tmp_path / f"t.{mode[2:] or 'tar'}", FILES.items(), mode) for mode in ("w:", "w:gz", "w:xz")]
    for number, archive in enumerate(archives):
        unpack(archive, tmp_path / str(number))
        assert found(tmp_path / str(number)) == FILES


def test_what_is_unpacked_takes_the_place_of_what_was_there(tmp_path):
    (tmp_path / "raw/old").mkdir(parents=True)
    (tmp_path / "raw/old/x").write_bytes(b"half")
    unpack(zip_of(tmp_path / "z.zip", FILES), tmp_path / "raw")
    assert found(tmp_path / "raw") == FILES


def test_nothing_hidden_is_taken(tmp_path):
    junk = {"a/._1.nii.gz": b"x", ".DS_Store": b"x", "__MACOSX/a/1.nii.gz": b"x"}
    unpack(zip_of(tmp_path / "z.zip", FILES | junk), tmp_path / "raw")
    assert found(tmp_path / "raw") == FILES


def link_in_zip(path):
    info = zipfile.ZipInfo("a/link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return path


def sparse_tar(path):
    """One megabyte of nothing, as GNU tar stores it."""
    (path.parent / "hole").write_bytes(b"")
    os.truncate(path.parent / "hole", 1 << 20)
    subprocess.run(["tar", "-S", "-cf", path, "-C", path.parent, "hole"], check=True)
    (path.parent / "hole").unlink()
    return path


def encrypted_zip(path):
    content = zip_of(path, {"a": b"secret"}).read_bytes()
    at = content.index(b"PK\x01\x02") + 8
    path.write_bytes(content[:6] + b"\x01" + content[7:at] + b"\x01" + content[at + 1 :])
    return path


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    return path


def flipped(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    return path


NOISE = random.Random(0).randbytes(100_000)
BAD = {
    "zip: ../": (lambda p: zip_of(p / "z.zip", {"a/../../evil": b"x"}), "points outside"),
    "zip: absolute": (lambda p: zip_of(p / "z.zip", {"/tmp/evil": b"x"}), "points outside"),
    "zip: backslash": (lambda p: zip_of(p / "z.zip", {"..\\evil": b"x"}), "points outside"),
    "zip: link": (lambda p: link_in_zip(p / "z.zip"), "is a link"),
    "zip: encrypted": (lambda p: encrypted_zip(p / "z.zip"), "encrypted"),
    "zip: thousandfold": (lambda p: zip_of(p / "z.zip", {"bomb": b"\0" * 50_000_000}), "expands beyond reason"),
    "zip: cut": (lambda p: cut(zip_of(p / "z.zip", {"a": NOISE}), 50_000), "expected a zip or tar archive"),
    "zip: byte flipped": (lambda p: flipped(zip_of(p / "z.zip", {"a": NOISE}), 50_000), "a damaged one"),
    "zip: twice": (lambda p: tar_of(p / "t.tar", [("a", b"1"), ("a", b"2")]), "comes twice"),
    "tar: ../": (lambda p: tar_of(p / "t.tar", [("../evil", b"x")]), "points outside"),
    "tar: absolute": (lambda p: tar_of(p / "t.tar", [("/tmp/evil", b"x")]), "points outside"),
    "tar: symlink": (lambda p: tar_of(p / "t.tar", [special("a", tarfile.SYMTYPE, "/etc/passwd")]), "is a link"),
    "tar: hard link": (lambda p: tar_of(p / "t.tar", [special("a", tarfile.LNKTYPE, "/etc/passwd")]), "is a link"),
    "tar: link, then a file through it": (
        lambda p: tar_of(p / "t.tar", [special("a", tarfile.SYMTYPE, "/tmp"), ("a/evil", b"x")]),
        "is a link",
    ),
    "tar: device": (lambda p: tar_of(p / "t.tar", [special("a", tarfile.CHRTYPE)]), "a device"),
    "tar: pipe": (lambda p: tar_of(p / "t.tar", [special("a", tarfile.FIFOTYPE)]), "a device"),
    "tar: sparse": (lambda p: sparse_tar(p / "t.tar"), "sparse"),
    "tar.gz: thousandfold": (lambda p: tar_of(p / "t.tar.gz", [("b", b"\0" * 50_000_000)], "w:gz"), "expands beyond"),
    "tar: cut": (lambda p: cut(tar_of(p / "t.tar", [("a", NOISE)]), 50_000), "a damaged one"),
    "tar.gz: cut": (lambda p: cut(tar_of(p / "t.tar.gz", [("a", NOISE)], "w:gz"), 50_000), "a damaged one"),
    "tar.gz: byte flipped": (
        lambda p: flipped(tar_of(p / "t.tar.gz", [("a", NOISE)], "w:gz"), 60_000),
        "a damaged one",
    ),
    "neither": (lambda p: (p / "x.zip").write_bytes(NOISE) and p / "x.zip", "expected a zip or tar archive"),
    "tar: a file and a folder of one name": (
        lambda p: tar_of(p / "t.tar", [("a", b"1"), ("a/b", b"2")]),
        "a damaged one",
    ),
    "empty": (lambda p: zip_of(p / "z.zip", {}), "it holds none"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_archive_is_one_sentence_and_leaves_all_as_it_was(tmp_path, name):
    make, told = BAD[name]
    archive = make(tmp_path)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/before").write_bytes(b"whole")
    with pytest.raises(BadInput, match=told) as refusal:
        unpack(archive, tmp_path / "raw")
    assert "\n" not in str(refusal.value)
    assert found(tmp_path) == {archive.name: archive.read_bytes(), "raw/before": b"whole"}


def test_a_folder_that_the_archive_lacks_is_told(tmp_path):
    with pytest.raises(BadInput, match="expected the folder b/c in the archive"):
        unpack(zip_of(tmp_path / "z.zip", FILES), tmp_path / "raw", folder="b/c")


def test_label_maps_alone_are_no_bomb(tmp_path):
    """Nearly all background: 300 to one is what deflate makes of real ones."""
    labels, draw = bytearray(20_000_000), random.Random(0)
    for at in range(0, len(labels), 20_000):
        labels[at : at + 60] = draw.randbytes(60)
    archive = zip_of(tmp_path / "z.zip", {"segmentation-0.nii": bytes(labels)})
    assert 100 < len(labels) / archive.stat().st_size < unpacking.LARGEST_EXPANSION
    unpack(archive, tmp_path / "raw")


def test_more_than_the_disk_holds_is_refused_before_it_is_written(tmp_path):
    info = tarfile.TarInfo("huge")
    info.size = 10**15
    (tmp_path / "t.tar").write_bytes(info.tobuf(format=tarfile.GNU_FORMAT) + NOISE)
    os.truncate(tmp_path / "t.tar", 10**13)  # a hole, so that the expansion is within reason
    with pytest.raises(FullDisk, match=r"expected .* TB of free disk"):
        unpack(tmp_path / "t.tar", tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_what_a_killed_fetch_left_is_cleared_by_the_next(tmp_path):
    (tmp_path / ".raw.partial").mkdir()
    (tmp_path / ".raw.partial/half").write_bytes(b"x")
    with staged_folder(tmp_path / "raw") as partial:
        (partial / "whole").write_bytes(b"y")
    assert found(tmp_path) == {"raw/whole": b"y"}


def test_a_file_size_limit_is_told_as_a_full_disk_and_other_faults_as_they_are(tmp_path):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from pathlib import Path; from diffufuse.fetch.disk import full_disk_reported, FullDisk\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "try:\n  with full_disk_reported(folder): (folder / 'x').write_bytes(b'0' * 2000)\n"
        "except FullDisk as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "expected room on the volume /" in done.stdout
    assert "got 'File too large': it needs more than the" in done.stdout
    with pytest.raises(FileNotFoundError), full_disk_reported(tmp_path):
        (tmp_path / "absent").read_bytes()


FULL_DISK = """
import sys
from pathlib import Path
from diffufuse.errors import BadInput
from diffufuse.fetch import disk, http
from diffufuse.fetch.dataset import fetch_dataset
disk.shutil.disk_usage = lambda path, ask=disk.shutil.disk_usage: ask("/")  # another process takes the room meanwhile
http.WAIT_S = 0
folder, url = Path(sys.argv[1]), sys.argv[2]
def fetch():
    told = {"mirror": None, "study_seed": 1}
    fetch_dataset({"kind": "archive", "url": url}, folder / "sts.manifest.tsv", **told)
for _ in range(2):
    try:
        fetch()
    except BadInput as error:
        print(error)
    print("raw", *sorted(p.name for p in (folder / "sts").rglob("*") if p.is_file()), flush=True)
    print("kept", *sorted(p.name for p in folder.iterdir()), flush=True)
    (folder / "ballast").unlink(missing_ok=True)
"""


@pytest.mark.skipif(
    not shutil.which("unshare")
    or subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode,
    reason="a disk of its own cannot be mounted here",
)
@pytest.mark.parametrize(("ballast_kb", "where"), [(1500, "download"), (700, "unpack")])
def test_a_disk_that_fills_up_in_the_middle_is_told_and_the_next_fetch_goes_on(tmp_path, ballast_kb, where):
    """2 MB for an archive of 800 kB, with a ballast that leaves too little for the download, or for its content."""
    body = zip_of(tmp_path / "z.zip", {"a/1.nii.gz": random.Random(0).randbytes(800_000)}).read_bytes()
    (tmp_path / "disk").mkdir()
    (tmp_path / "code.py").write_text(FULL_DISK)
    with host() as server:
        server.pages["/z.zip"] = Page(body)
        script = (
            f"mount -t tmpfs -o size=2M tmpfs {tmp_path}/disk && "
            f"head -c {ballast_kb}K /dev/zero > {tmp_path}/disk/ballast && "
            f"{sys.executable} {tmp_path}/code.py {tmp_path}/disk {server.url}/z.zip"
        )
        done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False)
        told, raw, kept, raw_after, kept_after = done.stdout.splitlines()
        assert f"expected room on the volume {tmp_path}/disk, got 'No space left on device': it needs more" in told
        assert raw == "raw"
        assert ".sts.download" in kept
        assert "sts.manifest.tsv" not in kept.split()
        assert raw_after == "raw 1.nii.gz"
        assert kept_after.split()[1:] == [".sts.manifest.tsv", "sts", "sts.manifest.tsv"]
        ranges = [asked for _, asked in server.asked]
        assert ranges == ([None] if where == "unpack" else [None, ranges[-1]])
        assert where == "unpack" or ranges[-1].startswith("bytes=")
