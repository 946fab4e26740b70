"""A fetch that is killed leaves no program behind that goes on without it."""

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from diffufuse.fetch import tether

FETCH = """
import sys
from pathlib import Path
from idc_index import index
from diffufuse.fetch.sources import idc
from diffufuse.logs import job_log

raw, index.aws_endpoint_url = Path(sys.argv[1]), sys.argv[2]
one = idc.Series("P", "PT", "1.2.3", "0000", files=1, bytes=1, license="", address="s3://bucket/0000/*")
idc._listed = lambda source: [one]
with job_log(raw.with_name("job.log")):
    idc.fetch(raw, {"kind": "idc", "collection": "x"}, study_seed=1)
"""


@pytest.fixture
def silent_host():
    """Takes connections and never answers, so that the downloader waits."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def waited_for(look, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def downloaders(process):
    """The programs below a process that have become s5cmd; a dying one has no command line."""
    found = []
    for child in process.children(recursive=True):
        try:
            if any("s5cmd" in part for part in child.cmdline()[:1]):
                found.append(child)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_the_downloader_ends_with_the_job_that_started_it(tmp_path, silent_host, by):
    (tmp_path / "raw").mkdir()
    job = subprocess.Popen([sys.executable, "-c", FETCH, str(tmp_path / "raw"), silent_host])
    [downloader] = waited_for(lambda: downloaders(psutil.Process(job.pid)))
    os.kill(job.pid, by)
    job.wait()
    try:
        assert not psutil.wait_procs([downloader], timeout=5)[1]
    finally:
        if downloader.is_running():
            downloader.kill()


BESIDE = """
import os, sys
sys.path.insert(0, {folder!r})
import tether
tether.SECONDS_BETWEEN_LOOKS = 0.05
sys.exit(tether._beside(os.getppid(), {command!r}))
"""


@pytest.mark.parametrize("way", ["by the kernel", "beside it"])
def test_a_tethered_program_ends_with_its_starter_on_any_system(tmp_path, way):
    mark = tmp_path / "pid"
    command = ["/bin/sh", "-c", f"echo $$ > {mark}.part && mv {mark}.part {mark} && exec sleep 60"]
    beside = BESIDE.format(folder=os.path.dirname(tether.__file__), command=command)
    run = {
        "by the kernel": "import os, subprocess, sys\nsubprocess.run([sys.executable, sys.argv[1], str(os.getpid()), "
        "*sys.argv[2:]])",
        "beside it": f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {beside!r}])",
    }[way]
    starter = subprocess.Popen([sys.executable, "-c", run, tether.__file__, *command])
    waited_for(mark.exists)
    program = psutil.Process(int(mark.read_text()))
    starter.kill()
    starter.wait()
    assert not psutil.wait_procs([program], timeout=5)[1]


def test_a_program_is_not_started_for_a_job_that_is_gone(tmp_path):
    command = [sys.executable, tether.__file__, "1", "/bin/sh", "-c", f"touch {tmp_path}/started"]
    assert subprocess.run(command, check=False).returncode == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("way", ["by the kernel", "beside it"])
def test_a_tethered_program_tells_how_it_ended(way):
    command = ["/bin/sh", "-c", "exit 7"]
    if way == "beside it":
        assert tether._beside(os.getppid(), command) == 7
    else:
        done = subprocess.run([sys.executable, tether.__file__, str(os.getpid()), *command], check=False)
        assert done.returncode == 7
