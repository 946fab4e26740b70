"""What a run asks the cluster about its jobs; `squeue`, `sacct` and `scancel` are scripts that tell a written state."""

import os
import subprocess
import sys
import time

import pytest

from diffufuse.study import slurm
from diffufuse.study.resources import growing
from diffufuse.train import time_limit

SQUEUE = """#!/bin/sh
cat "{folder}/queue"
"""
# A cancelled job is gone from the queue.
SCANCEL = """#!/bin/sh
for number; do echo "$number" >> "{folder}/cancelled"; sed -i "/^$number|/d" "{folder}/queue"; done
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder with a file `queue` that the commands of the cluster read."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in {"squeue": SQUEUE, "scancel": SCANCEL}.items():
        (commands / name).write_text(text.format(folder=tmp_path))
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "SECONDS_BETWEEN_LOOKS", 0.1)
    queue(tmp_path)
    return tmp_path


def queue(cluster, *rows):
    (cluster / "queue").write_text("".join(f"{row}\n" for row in rows))


def row(number, state, reason="None", *, folder, what="rule_train_model_wildcards_phantom_unet2d_0_0"):
    return f"{number}|{state}|{reason}|{folder}|{what}"


def test_jobs_of_other_folders_and_a_persons_own_are_not_the_runs(cluster):
    queue(
        cluster,
        row(1, "RUNNING", folder=cluster),
        row(2, "RUNNING", folder="/elsewhere"),
        row(3, "RUNNING", folder=cluster, what="(null)"),
    )
    [job] = slurm.submitted_from(cluster)
    assert (job.number, job.what) == ("1", "train_model_wildcards_phantom_unet2d_0_0")


def test_a_folder_reached_by_a_link_is_the_same(cluster, tmp_path):
    (tmp_path / "link").symlink_to(cluster, target_is_directory=True)
    queue(cluster, row(1, "PENDING", folder=tmp_path / "link"))
    assert slurm.submitted_from(cluster)


def test_a_run_waits_for_what_a_killed_one_left_running_and_cancels_what_had_not_begun(cluster):
    told = []

    def tell(sentence):
        told.append(sentence)
        queue(cluster)  # the job ends

    queue(cluster, row(7, "RUNNING", folder=cluster), row(8, "PENDING", "Priority", folder=cluster))
    assert slurm.wait_for_left_jobs(cluster, tell)
    assert (cluster / "cancelled").read_text().split() == ["8"]
    [sentence] = told
    assert "train_model" in sentence
    assert "(7)" in sentence


def test_without_left_jobs_or_without_a_cluster_nothing_is_waited_for(cluster, monkeypatch):
    assert not slurm.wait_for_left_jobs(cluster, pytest.fail)
    monkeypatch.setenv("PATH", "/nowhere")
    assert not slurm.wait_for_left_jobs(cluster, pytest.fail)
    assert slurm.status_command() == "squeue"


def test_a_job_that_can_never_run_is_told_and_cancelled_and_one_that_may_is_left(cluster):
    told = []
    rows = {8: "PartitionConfig", 9: "Resources", 10: "Priority"}
    queue(cluster, *(row(number, "PENDING", reason, folder=cluster) for number, reason in rows.items()))
    slurm.cancel_hopeless_jobs(cluster, told.append)
    deadline = time.monotonic() + 20
    while not told and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    [sentence] = told
    assert "PartitionConfig" in sentence
    assert (cluster / "cancelled").read_text().split() == ["8"]


@pytest.mark.parametrize(("seconds", "command"), [(300, "squeue"), (60, "sacct")])
def test_squeue_is_asked_unless_the_cluster_forgets_soon(cluster, seconds, command):
    for name, text in {"scontrol": f"echo 'MinJobAge               = {seconds} sec'", "sacct": "exit 0"}.items():
        (cluster / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (cluster / "bin" / name).chmod(0o755)
    assert slurm.status_command() == command


def test_each_attempt_gets_more():
    assert [growing(2500)(None, attempt) for attempt in (1, 2, 3)] == [2500, 5000, 7500]


@pytest.mark.parametrize(
    ("processes", "one", "asked"),
    [("", "gpu:1", "gpu:1"), ("2", "gpu:1", "gpu:2"), ("4", "gpu:a100:1", "gpu:a100:4"), ("2", "gpu", "gpu:2")],
)
def test_a_training_asks_for_a_gpu_for_each_of_its_processes(monkeypatch, processes, one, asked):
    monkeypatch.setenv("DIFFUFUSE_PROCESSES", processes)
    assert slurm.gpus_of_training(one) == asked


@pytest.fixture
def job(cluster, monkeypatch):
    """A job of SLURM whose requests are written down, and which is queued again two seconds before its end."""
    (cluster / "bin" / "scontrol").write_text(f'#!/bin/sh\necho "$@" > "{cluster}/asked"\n')
    (cluster / "bin" / "scontrol").chmod(0o755)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setattr(time_limit, "SECONDS_BEFORE_THE_END", 2.0)

    def asked(*, seconds_left):
        end = time.localtime(time.time() + seconds_left + 1)
        (cluster / "queue").write_text(time.strftime("%Y-%m-%dT%H:%M:%S\n", end))
        time_limit.queue_again_before_time_limit()
        time.sleep(1.0)
        assert not (cluster / "asked").exists()
        time.sleep(seconds_left)
        return (cluster / "asked").read_text().split() if (cluster / "asked").exists() else None

    return asked


def test_a_training_is_queued_again_before_its_time_is_over(job):
    assert job(seconds_left=5) == ["requeue", "12"]


def test_a_training_with_hardly_time_to_train_is_left_to_its_limit(job):
    assert job(seconds_left=2) is None


@pytest.mark.parametrize("told", ["N/A", ""])
def test_a_job_without_a_time_limit_is_left_alone(cluster, monkeypatch, told):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    (cluster / "queue").write_text(told)
    assert time_limit._end_of("12") is None


def test_a_job_whose_workflow_ended_while_it_started_does_nothing(tmp_path):
    script = f"from diffufuse.logs import job_log\nwith job_log({str(tmp_path / 'job.log')!r}):\n    print('worked')\n"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"DIFFUFUSE_WORKFLOW": "runs"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "has ended" in done.stderr
    assert not (tmp_path / "job.log").exists()
