"""`snakemake --profile slurm` on a real cluster of one node: `make test-slurm`, as root on Debian, some 15 minutes."""

import logging
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from chaos.hindered import answers, leftovers, new_study, nothing_is_to_be_done, run_to_the_end
from coarse_study import SNAKEMAKE, copy_of_the_product, edit

from diffufuse.files.digests import sha256_of
from diffufuse.files.records import read_record

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(2400)]
SHEET = """case\tpatient\tfold\tvalidates\tsite\texcluded
PH-001\tPH-001\t0\t-\t\t-
PH-002\tPH-002\t-\t0\t\t-
PH-003\tPH-003\t-\t-\t\t-
"""
MODEL = "unet2d_tiny"
RUN = f"results/train/phantom/{MODEL}/fold-0_seed-0"
TARGET = f"{RUN}/run.json"
SEED = int(os.environ.get("CHAOS_SEED", 0))
HARMS = 8
log = logging.getLogger(__name__)
HEADS = []
SQUEUE = ["squeue", "--noheader", "--format=%A %T %Z %k"]


@pytest.fixture
def study(tmp_path):
    """A folder with a study of one training that takes a few minutes."""
    copy_of_the_product(tmp_path)
    (tmp_path / "slurm").symlink_to("profiles/slurm")
    (tmp_path / "config/cohorts/phantom.tsv").write_text(SHEET)
    for name, change in {
        "config": lambda c: c["study"].update(models=[MODEL], only={}, folds=[0], compare_with=MODEL),
        "datasets": lambda c: c["datasets"]["phantom"]["source"].update(patients=3),
        "models": lambda c: c["models"][MODEL]["training"].update(steps=1500, validate_every=1500, batch=4),
    }.items():
        edit(tmp_path / f"config/{name}.yaml", change)
    yield tmp_path
    while HEADS:  # a head that is left would go on with its jobs beside those of the next test
        head = HEADS.pop()
        if head.poll() is None:
            os.killpg(head.pid, signal.SIGKILL)
            head.wait()
    subprocess.run(["scancel", "--user=root"], check=False)


def start(folder, *arguments, **variables):
    """A run with the profile of the cluster, in a process group of its own."""
    names = {"DIFFUFUSE_PARTITION": "cpu", "DIFFUFUSE_GPU_PARTITION": "gpu", "PYTHONPATH": str(folder / "src")}
    with (folder / "head.log").open("a") as log:
        head = subprocess.Popen(
            [SNAKEMAKE, "--profile", "slurm", *arguments],
            cwd=folder,
            env=os.environ | names | variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    HEADS.append(head)
    return head


def told(folder):
    return (folder / "head.log").read_text()


def until(true, seconds=600):
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(1)


def running(rule):
    rows = subprocess.run(SQUEUE, capture_output=True, text=True, check=True).stdout.splitlines()
    return [row for row in rows if " RUNNING " in row and f"rule_{rule}" in row]


def all_running(folder):
    rows = subprocess.run(SQUEUE, capture_output=True, text=True, check=True).stdout.splitlines()
    return [row.split(maxsplit=3) for row in rows if " RUNNING " in row and f" {folder} " in row]


def steps_logged(folder):
    log = folder / f"results/logs/train/phantom/{MODEL}/fold-0_seed-0.log"
    return log.read_text() if log.exists() else ""


def test_a_killed_head_is_started_again_and_no_two_jobs_train_at_once(study):
    head = start(study, TARGET)
    until(lambda: running("train_model") and "of 1500" in steps_logged(study))
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()
    again = start(study, TARGET)
    most = 0
    while again.poll() is None:
        most = max(most, len(running("train_model")))
        time.sleep(0.5)
    assert again.returncode == 0, told(study)[-3000:]
    assert most == 1
    assert "An earlier run left jobs on the cluster: train_model" in told(study)
    assert read_record(study / TARGET)["resumed_at_steps"] == []
    assert nothing_is_to_be_done(study, TARGET)


def test_a_training_longer_than_its_time_limit_goes_on_to_the_same_weights(study):
    edit(study / "config/models.yaml", lambda c: c["models"][MODEL]["training"].update(steps=6000))
    rule = study / "workflow/rules/train.smk"
    rule.write_text(rule.read_text().replace("runtime=growing(240)", "runtime=growing(4)"))
    head = start(study, TARGET)
    assert head.wait() == 0, told(study)[-3000:]
    stopped_at = read_record(study / TARGET)["resumed_at_steps"]
    assert stopped_at, "the training was not longer than its limit"
    assert "attempt" not in told(study)
    weights = sha256_of(study / RUN / "weights" / "weights.safetensors")
    shutil.rmtree(study / RUN)
    run_to_the_end(study, TARGET)
    assert sha256_of(study / RUN / "weights" / "weights.safetensors") == weights


def test_a_job_that_can_never_run_is_told_with_its_reason_and_cancelled(study):
    began = time.monotonic()
    head = start(study, "results/ingest/phantom/PH-001.json", DIFFUFUSE_PARTITION="short")
    assert head.wait() != 0
    assert time.monotonic() - began < 300
    assert "The cluster can never run" in told(study)
    assert "PartitionTimeLimit" in told(study)


def kill_head(head, number):
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()


def queue_again(head, number):
    """As when the job's node fails."""
    subprocess.run(["scontrol", "requeue", number], check=False)


def kill_job(head, number):
    """As when memory runs out."""
    subprocess.run(["scancel", "--signal=KILL", "--full", number], check=False)


def cancel_job(head, number):
    """As someone who sees it in the queue."""
    subprocess.run(["scancel", number], check=False)


def test_heads_and_jobs_harmed_at_random_end_as_a_study_left_alone(tmp_path):
    alone, study = new_study(tmp_path / "alone"), new_study(tmp_path / "study")
    run_to_the_end(alone)
    (study / "slurm").symlink_to("profiles/slurm")
    generator, head = random.Random(SEED), start(study)
    for _ in range(HARMS):
        until(lambda head=head: head.poll() is not None or all_running(study))
        time.sleep(generator.uniform(0, 10))
        if head.poll() is None and (running_now := all_running(study)):
            number, _, _, what = generator.choice(running_now)
            harm = generator.choice([kill_head, queue_again, kill_job, cancel_job])
            log.info("seed %d: %s: %s", SEED, harm.__name__, what)
            harm(head, number)
        if head.poll() is not None:
            head = start(study)
    if head.wait() != 0:
        assert start(study).wait() == 0, told(study)[-3000:]
    assert answers(study) == answers(alone)
    assert nothing_is_to_be_done(study)
    assert leftovers(study) == []
