"""A training that is longer than the time limit of its SLURM job goes on in the same job, queued again."""

import logging
import os
import shutil
import subprocess
import threading
import time
from datetime import datetime

from diffufuse.processes import is_first

# SLURM then asks the training to save its state, and ends what is left after its `KillWait`, 30 s by default.
SECONDS_BEFORE_THE_END = 90.0
log = logging.getLogger(__name__)


def queue_again_before_time_limit() -> None:
    """Queue the SLURM job of this process again shortly before its time limit; elsewhere, do nothing.

    Thus no attempt is lost, and no memory or time is asked for that is not needed. Called when the first step is near:
    a job that has hardly time to train would be queued again and again, so it is left to its limit, and the next
    attempt has more.
    """
    job = os.environ.get("SLURM_JOB_ID") if is_first() else None
    end = _end_of(job) if job and shutil.which("scontrol") else None
    if job and end is not None and end - time.time() > 2 * SECONDS_BEFORE_THE_END:
        threading.Thread(target=_wait_and_requeue, args=(job, end), daemon=True).start()


def _end_of(job: str) -> float | None:
    """When the time of a job is over, as a Unix time; None if it has no limit."""
    asked = subprocess.run(
        ["squeue", "--noheader", "--jobs", job, "--format=%e"], capture_output=True, text=True, check=False
    )
    try:
        return datetime.fromisoformat(asked.stdout.strip()).timestamp()
    except ValueError:
        return None


def _wait_and_requeue(job: str, end_unix_s: float) -> None:
    time.sleep(max(0.0, end_unix_s - SECONDS_BEFORE_THE_END - time.time()))
    log.info("The time limit of job %s is near; it is queued again and goes on from here.", job)
    subprocess.run(["scontrol", "requeue", job], capture_output=True, check=False)
