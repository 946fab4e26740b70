"""Files on disk: whole or not at all, on the disk before they have their name, and nothing of a killed job left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from diffufuse.files import atomic
from diffufuse.files.atomic import atomic_folder, atomic_path, partial_of, remove_leftovers, remove_unused_scripts
from diffufuse.files.digests import sha256_of


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path):
    target = tmp_path / "folder"
    with atomic_folder(target) as partial:
        (partial / "a").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(target) as partial:
        (partial / "b").write_text("half")
        raise RuntimeError
    assert [file.name for file in target.iterdir()] == ["a"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_folder_replaces_the_old_one_whole(tmp_path):
    for name in ("old", "new"):
        with atomic_folder(tmp_path / "folder") as partial:
            (partial / name).write_text(name)
    assert [file.name for file in (tmp_path / "folder").iterdir()] == ["new"]
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_a_folder_behind_a_link_to_another_place_is_written_there(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "disk/folder")
    for name in ("old", "new"):
        with atomic_folder(tmp_path / "folder") as partial:
            (partial / name).write_text(name)
    assert (tmp_path / "folder").is_symlink()
    assert [file.name for file in (tmp_path / "disk/folder").iterdir()] == ["new"]
    assert [file.name for file in (tmp_path / "disk").iterdir()] == ["folder"]


@pytest.fixture
def told(monkeypatch):
    """What was asked of the disk, in order: `sync NAME` and `name NAME`."""
    happened = []

    def sync(descriptor, really=os.fsync):
        happened.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        really(descriptor)

    def replace(source, target, really=os.replace):
        happened.append(f"name {Path(target).name}")
        really(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    return happened


def test_a_file_is_on_the_disk_before_it_has_its_name_and_then_the_name_is(tmp_path, told):
    with atomic_path(tmp_path / "a.txt") as partial:
        partial.write_text("whole")
    assert told == [f"sync {partial.name}", "name a.txt", f"sync {tmp_path.name}"]


def test_what_a_folder_holds_is_on_the_disk_once_before_it_has_its_name(tmp_path, told):
    with atomic_folder(tmp_path / "folder") as partial:
        with atomic_path(partial / "inner/a.txt") as inner:
            inner.write_text("a")
        (partial / "b.txt").write_text("b")
    assert told.index("name a.txt") < told.index("sync a.txt") < told.index("sync inner") < told.index("name folder")
    assert told.index("sync b.txt") < told.index(f"sync {partial.name}") < told.index("name folder")
    assert told[-1] == f"sync {tmp_path.name}"
    assert len(told) == len(set(told))


WRITER = """
import sys, time
from pathlib import Path
from diffufuse.files.atomic import atomic_folder, atomic_path
target = Path(sys.argv[1])
if target.suffix:
    with atomic_path(target) as partial:
        partial.write_text("half")
        print(partial, flush=True)
        time.sleep(60)
else:
    with atomic_folder(target) as partial:
        (partial / "a").write_text("half")
        print(partial, flush=True)
        time.sleep(60)
"""


def start_writing(target):
    """A process of its own that stays in the middle of a write; and the path of what is half written."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE, text=True)
    return writer, Path(writer.stdout.readline().strip())


def write(target):
    if target.suffix:
        with atomic_path(target) as partial:
            partial.write_text("whole")
    else:
        with atomic_folder(target) as partial:
            (partial / "a").write_text("whole")


@pytest.mark.parametrize("name", ["a.txt", "folder"])
def test_what_a_killed_job_left_is_removed_when_the_same_is_written_again(tmp_path, name):
    writer, half = start_writing(tmp_path / name)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert half.exists()
    write(tmp_path / f"other-{name}")
    assert half.exists()
    write(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, f"other-{name}"])


@pytest.mark.parametrize("name", ["a.txt", "folder"])
def test_what_a_living_process_is_writing_is_left_alone(tmp_path, name):
    writer, half = start_writing(tmp_path / name)
    write(tmp_path / name)
    assert half.exists()
    writer.kill()
    writer.wait()


@pytest.mark.parametrize("left", [".elsewhere-1.7.partial.a.txt", ".7.partial.a.txt"])
def test_what_another_host_or_an_earlier_release_left_is_removed_after_a_day_only(tmp_path, left, monkeypatch):
    monkeypatch.setattr(atomic, "_is_running", lambda pid: False)
    (tmp_path / left).write_text("half")
    write(tmp_path / "a.txt")
    assert (tmp_path / left).exists()
    os.utime(tmp_path / left, times=(time.time() - 100_000,) * 2)
    write(tmp_path / "a.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_disk_that_cannot_sync_a_folder_is_no_fault_but_one_that_fails_is(tmp_path, monkeypatch):
    def refuse(descriptor, error=22, really=os.fsync):
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(error, os.strerror(error))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    write(tmp_path / "a.txt")
    monkeypatch.setattr(os, "fsync", lambda descriptor: refuse(descriptor, error=5))
    with pytest.raises(OSError, match="Input/output"):
        write(tmp_path / "a.txt")


def test_a_temporary_name_ends_as_the_final_one_and_tells_who_writes(tmp_path):
    name = partial_of(tmp_path / "image.nii.gz").name
    assert name.startswith(".")
    assert name.endswith(f".{os.getpid()}.partial.image.nii.gz")


def test_sha256_is_that_of_the_standard(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def ended():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_process_that_has_ended_but_was_not_asked_for_its_status_writes_no_more(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    left = tmp_path / partial_of(tmp_path / "a.txt").name.replace(f".{os.getpid()}.", f".{process.pid}.")
    left.write_text("half")
    remove_leftovers(tmp_path)
    process.wait()
    assert not left.exists()


def test_all_leftovers_of_ended_processes_below_a_folder_are_removed_and_nothing_else(tmp_path):
    name, dead, alive = partial_of(tmp_path / "a.json").name, ended(), os.getppid()
    of_process = lambda pid: name.replace(f".{os.getpid()}.", f".{pid}.")  # noqa: E731
    of_host = of_process(dead).replace(".", ".other-", 1)
    left = [tmp_path / "train" / of_process(dead), tmp_path / "predict" / of_process(dead), tmp_path / "b" / of_host]
    kept = [tmp_path / of_process(alive), tmp_path / of_host, tmp_path / "train" / "a.json", tmp_path / "train/.hidden"]
    for path in (*left, *kept):
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    left[1].unlink()
    left[1].mkdir()
    (left[1] / of_process(dead)).write_text("half")
    os.utime(left[2], (1, 1))
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "absent")
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(kept)
    assert not left[1].exists()


def test_scripts_of_killed_jobs_are_removed_but_not_those_that_run_or_are_about_to(tmp_path):
    left, new, running = (tmp_path / f"tmp{name}.train_model.py" for name in ("left", "new", "running"))
    for path in (left, new, running):
        path.write_text("import time; time.sleep(600)")
    for path in (left, running):
        os.utime(path, (1, 1))
    process = subprocess.Popen([sys.executable, str(running)])
    try:
        remove_unused_scripts(tmp_path)
        remove_unused_scripts(tmp_path / "absent")
    finally:
        process.kill()
        process.wait()
    assert set(tmp_path.iterdir()) == {new, running}
