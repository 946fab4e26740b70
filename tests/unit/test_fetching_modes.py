"""Patients' data is for its owner's eyes: the modes of all that a real job writes, and how a group may share."""

import os
import subprocess
import sys
import zipfile

import pytest

FILES = "STS_001/a.nii.gz"
JOB = """
import sys
from pathlib import Path
from diffufuse.fetch.dataset import fetch_dataset
from diffufuse.files.atomic import atomic_folder, atomic_path
from diffufuse.logs import job_log

root = Path(sys.argv[1])
with job_log(root / "logs/sts/job.log"):
    print("told")
    with atomic_path(root / "results/sts/a.json") as partial:
        partial.write_text("a")
    with atomic_folder(root / "results/sts/folder") as partial:
        (partial / "inner").mkdir()
        (partial / "inner/b").write_text("b")
    for name in ("folder", "archive.zip"):
        block = {"kind": "copy", "mirror": name}
        manifest = root / f"data/raw/{name.partition('.')[0]}.manifest.tsv"
        fetch_dataset(block, manifest, mirror=str(root / "mirror"), study_seed=1)
"""


def run(tmp_path, **environment):
    copy = tmp_path / "mirror/folder" / FILES
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"image")
    copy.chmod(0o666)
    for folder in (copy.parent, copy.parents[1]):
        folder.chmod(0o777)
    with zipfile.ZipFile(tmp_path / "mirror/archive.zip", "w") as archive:
        info = zipfile.ZipInfo(FILES)
        info.external_attr = 0o100777 << 16
        archive.writestr(info, b"image")
    inherited = {name: text for name, text in os.environ.items() if name != "DIFFUFUSE_UMASK"}
    command = [sys.executable, "-c", JOB, str(tmp_path)]
    before = os.umask(0o022)
    try:
        return subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=False)
    finally:
        os.umask(before)


def modes(tmp_path):
    """Of files and of folders, below what the job made."""
    made = [path for top in ("logs", "results", "data") for path in (tmp_path / top, *(tmp_path / top).rglob("*"))]
    assert sum(path.is_file() for path in made) == 9, made
    files = {path.stat().st_mode & 0o777 for path in made if path.is_file()}
    return files, {path.stat().st_mode & 0o777 for path in made if path.is_dir()}


def test_what_a_job_writes_only_its_owner_reads(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert modes(tmp_path) == ({0o600}, {0o700})


def test_a_log_that_others_could_read_is_closed_to_them(tmp_path):
    log = tmp_path / "logs/sts/job.log"
    log.parent.mkdir(parents=True)
    log.write_text("of an earlier release")
    log.chmod(0o644)
    run(tmp_path)
    assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("told", "files", "folders"), [("027", 0o640, 0o750), ("007", 0o660, 0o770)])
def test_a_group_may_share(tmp_path, told, files, folders):
    done = run(tmp_path, DIFFUFUSE_UMASK=told)
    assert done.returncode == 0, done.stderr
    assert modes(tmp_path) == ({files}, {folders})


@pytest.mark.parametrize("told", ["group", "0o1777", "", "-7", "777"])
def test_a_umask_that_is_none_ends_the_job_in_one_sentence(tmp_path, told):
    done = run(tmp_path, DIFFUFUSE_UMASK=told)
    assert done.returncode == 1
    assert done.stderr.strip().startswith("Stopped: DIFFUFUSE_UMASK: expected an octal number")
    assert (tmp_path / "logs/sts/job.log").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "data").exists()
