"""What a job leaves in its log, what it shows, and how it ends; each in a process of its own."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from diffufuse.logs import bytes_text

HEAD = "import logging, sys\nfrom diffufuse.logs import job_log, PROGRESS\nfrom diffufuse.errors import BadInput\n"


def job(tmp_path, body):
    script = HEAD + f"with job_log({str(tmp_path / 'job.log')!r}):\n" + "".join(f"    {line}\n" for line in body)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def test_output_goes_into_the_log_and_progress_onto_the_screen_too(tmp_path):
    done = job(
        tmp_path, ["print('printed')", "logging.getLogger('diffufuse.x').info('noted')", "PROGRESS.info('half way')"]
    )
    log = (tmp_path / "job.log").read_text()
    assert done.returncode == 0
    assert all(text in log for text in ("printed", "noted", "half way"))
    assert done.stderr.strip() == "half way"
    assert done.stdout == ""


def test_progress_without_a_total_tells_no_end_and_does_not_flood(tmp_path):
    body = ["from diffufuse.logs import Progress", "progress = Progress('Download', 0)", "progress.reported -= 60"]
    done = job(tmp_path, [*body, "[progress.step(bytes) for bytes in range(1, 100)]"])
    assert done.stderr.strip() == "Download: 1"


def test_progress_in_bytes_tells_the_rate_of_what_came_since_it_began(tmp_path):
    body = [
        "from diffufuse.logs import Progress",
        "progress = Progress('Download', 4_000_000, unit='bytes', begun_at=1_000_000)",
        "progress.started -= 10; progress.reported -= 60",
        "progress.step(3_000_000)",
    ]
    done = job(tmp_path, body)
    assert done.stderr.strip() == "Download: 3 MB of 4 MB, 200 kB/s, 5 s left"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (12_345, "12.3 kB"), (9_870_434_084, "9.87 GB"), (5e15, "5e+03 TB")],
)
def test_bytes_are_told_in_powers_of_a_thousand(count, text):
    assert bytes_text(int(count)) == text


def test_bad_input_ends_in_one_sentence_without_a_traceback(tmp_path):
    done = job(tmp_path, ["raise BadInput('scan.nii.gz: expected a head, got a foot; scan again.')"])
    assert done.returncode == 1
    assert done.stderr.strip() == "Stopped: scan.nii.gz: expected a head, got a foot; scan again."
    assert "Traceback" not in (tmp_path / "job.log").read_text()


def test_a_fault_of_the_program_leaves_its_traceback_in_the_log(tmp_path):
    done = job(tmp_path, ["1 / 0"])
    assert done.returncode == 1
    assert "ZeroDivisionError" in (tmp_path / "job.log").read_text()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")
@pytest.mark.parametrize("answer", ["saves", "is deaf"])
def test_a_job_ends_soon_after_its_workflow_was_killed_and_may_save_its_state(tmp_path, answer):
    marker, saved, script = tmp_path / "written", tmp_path / "saved", tmp_path / "job.py"
    on_request = {
        "saves": f"lambda *_: (pathlib.Path({str(saved)!r}).touch(), sys.exit(143))",
        "is deaf": "signal.SIG_IGN",
    }[answer]
    script.write_text(
        HEAD + "import time, pathlib, signal, diffufuse.logs\ndiffufuse.logs.SECONDS_TO_SAVE = 1.0\n"
        f"signal.signal(signal.SIGTERM, {on_request})\n"
        f"with job_log({str(tmp_path / 'job.log')!r}):\n"
        f"    pathlib.Path({str(tmp_path / 'started')!r}).touch()\n    time.sleep(20)\n"
        f"    pathlib.Path({str(marker)!r}).touch()\n"
    )
    engine = tmp_path / "snakemake"
    engine.write_text(f"import subprocess\nsubprocess.run(['bash', '-c', '{sys.executable} {script}; true'])\n")
    workflow = subprocess.Popen([sys.executable, str(engine)])
    while not (tmp_path / "started").exists():
        time.sleep(0.1)
    [job_process] = [p for p in psutil.Process(workflow.pid).children(recursive=True) if str(script) in p.cmdline()]
    os.kill(workflow.pid, signal.SIGKILL)
    workflow.wait()
    assert not psutil.wait_procs([job_process], timeout=5)[1]
    assert saved.exists() == (answer == "saves")
    assert not marker.exists()


ON_A_SMALL_DISK = (
    "mount -t tmpfs -o size=1M tmpfs {disk} && {python} -c {script}; status=$?; ls -A {disk}; exit $status"
)


@pytest.mark.skipif(
    not shutil.which("unshare")
    or subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode,
    reason="a disk of its own cannot be mounted here",
)
@pytest.mark.parametrize(
    ("writes", "place"),
    [
        ("write_record({'a': 'x' * 2_000_000}, 'DISK/run.json')", "run.json"),
        ("with atomic_folder('DISK/weights') as folder: write_record({'a': 'x' * 2_000_000}, folder / 'a')", "weights"),
        ("open('DISK/map.nii.gz', 'wb').write(bytes(2_000_000))", None),
        ("print('x' * 2_000_000)", None),
    ],
    ids=["a file", "a folder", "by whatever library", "the log"],
)
def test_a_full_disk_is_told_in_one_sentence_and_nothing_half_written_stays(tmp_path, writes, place):
    disk = tmp_path / "disk"
    disk.mkdir()
    head = f"{HEAD}from diffufuse.files.records import write_record\nfrom diffufuse.files.atomic import atomic_folder\n"
    script = f"{head}with job_log('DISK/job.log'):\n    {writes}\n".replace("DISK", str(disk))
    command = ON_A_SMALL_DISK.format(disk=disk, python=sys.executable, script=shlex.quote(script))
    done = subprocess.run(["unshare", "-rm", "sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    told = rf"Stopped: {disk / place if place else '.*'}: expected room on the volume {disk}, got 'No space left on "
    assert re.fullmatch(rf"{told}device': it needs more than the \S+ \w+ that are free .*", done.stderr.strip())
    assert set(done.stdout.split()) <= {"job.log", "map.nii.gz"}
