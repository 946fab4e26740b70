"""One run at a time in a folder."""

import os
import signal
import subprocess
import sys

import pytest

from diffufuse.errors import BadInput
from diffufuse.study.run_lock import RunLock

HOLDER = """
import sys, time
from diffufuse.study.run_lock import RunLock
RunLock(sys.argv[1]).hold()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "lock"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_run_is_refused_and_told_who_holds_the_folder(tmp_path, holder):
    with pytest.raises(BadInput, match=rf"another run is under way in this folder \(process {holder.pid} on "):
        RunLock(tmp_path / "lock").hold()


def test_a_run_that_was_killed_leaves_no_lock(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    RunLock(tmp_path / "lock").hold()


def test_what_a_run_starts_does_not_hold_its_lock(tmp_path):
    lock = RunLock(tmp_path / "lock")
    lock.hold()
    code = "import time; print('started', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], close_fds=False, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "started\n"
        os.close(lock._file)  # as the end of this process would
        RunLock(tmp_path / "lock").hold()
    finally:
        child.kill()
        child.wait()


def test_a_folder_that_cannot_be_written_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "results").write_text("a file, no folder")
    with pytest.raises(BadInput, match="expected a folder that may be written"):
        RunLock(tmp_path / "results" / "lock").hold()


def test_the_lock_is_as_open_as_the_umask_allows(tmp_path):
    before = os.umask(0o007)
    try:
        RunLock(tmp_path / "lock").hold()
    finally:
        os.umask(before)
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o660
