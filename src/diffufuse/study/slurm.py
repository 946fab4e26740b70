"""What the head of a run asks SLURM, the scheduler of a cluster, about the jobs of its folder."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffufuse import processes

SECONDS_BETWEEN_LOOKS = 20.0
# Longer than Snakemake's plug-in ever waits between two looks.
SECONDS_REMEMBERED = 240
# Reasons to wait that no time ends, as the job asks for what its partition, account or nodes never give.
HOPELESS = {
    "AccountNotAllowed",
    "AssocMaxCpuPerJobLimit",
    "AssocMaxMemPerJob",
    "AssocMaxWallDurationPerJobLimit",
    "BadConstraints",
    "InvalidAccount",
    "InvalidQOS",
    "MaxMemPerLimit",
    "PartitionConfig",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "QOSMaxCpuPerJobLimit",
    "QOSMaxMemoryPerJob",
    "QOSMaxWallDurationPerJobLimit",
    "QOSNotAllowed",
}


@dataclass(frozen=True)
class Submitted:
    """A job of a workflow that the cluster knows and that has not ended.

    Attributes:
        number: its number in SLURM.
        state: such as `PENDING` or `RUNNING`.
        reason: why it waits.
        what: its rule or group, and wildcards.
    """

    number: str
    state: str
    reason: str
    what: str


def status_command() -> Literal["sacct", "squeue"]:
    """Return the command that knows the state of finished jobs.

    Snakemake's plug-in looks every three minutes or sooner. It does not understand how `sacct` tells of a cancelled
    job, and would wait for it without end, as for one that `squeue` has forgotten. So `sacct` is asked only where the
    cluster forgets sooner than that.
    """
    if shutil.which("scontrol") is None or shutil.which("sacct") is None:
        return "squeue"
    asked = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=False)
    remembered = re.search(r"^MinJobAge\s*=\s*(\d+)", asked.stdout, flags=re.M)
    return "sacct" if remembered and int(remembered[1]) < SECONDS_REMEMBERED else "squeue"


def gpus_of_training(one: str) -> str:
    """Return what a training asks for, as in `--gres`: a GPU for each process that shares it.

    Args:
        one: what a job asks for that needs one GPU, such as `gpu:1` or `gpu:a100:1`.
    """
    count = processes.asked()
    return one if count == 1 else f"{re.sub(r':[0-9]+$', '', one)}:{count}"


def submitted_from(folder: str | os.PathLike[str]) -> list[Submitted]:
    """List the jobs of workflows that were submitted from a folder and have not ended.

    Returns:
        Nothing on a machine without SLURM, or when it does not answer.
    """
    if shutil.which("squeue") is None:
        return []
    call = ["squeue", "--me", "--noheader", "--format=%A|%T|%r|%Z|%k"]
    try:
        asked = subprocess.run(call, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return []
    rows = [line.split("|", 4) for line in asked.stdout.splitlines() if line.count("|") >= 4]
    here = os.path.realpath(folder)
    return [
        Submitted(number, state, reason, what.removeprefix("rule_"))
        for number, state, reason, where, what in rows
        if os.path.realpath(where) == here and what.startswith("rule_")
    ]


def wait_for_left_jobs(folder: str | os.PathLike[str], tell: Callable[[str], object]) -> bool:
    """Wait for jobs that a killed run left on the cluster; cancel those that have not begun.

    Two jobs would otherwise compute the same files.

    Args:
        folder: of the run; no other run may be under way in it.
        tell: receives a sentence when the waiting begins, and whenever the number of jobs changes.

    Returns:
        Whether there were any, so that what is still to be done has to be found out anew.
    """
    left = submitted_from(folder)
    found, told = bool(left), 0
    while left:
        _cancel([job.number for job in left if job.state == "PENDING"])
        running = [job for job in left if job.state != "PENDING"]
        if running and len(running) != told:
            told = len(running)
            names = ", ".join(f"{job.what} ({job.number})" for job in running[:3]) + ", ..." * (told > 3)
            tell(f"An earlier run left jobs on the cluster: {names}. This run goes on when they have ended.")
        time.sleep(SECONDS_BETWEEN_LOOKS if running else 1.0)
        left = submitted_from(folder)
    return found


def start_again() -> None:
    """Replace this process by itself, started anew with the same arguments."""
    os.execv(sys.executable, [sys.executable, *sys.argv])


def cancel_hopeless_jobs(folder: str | os.PathLike[str], tell: Callable[[str], object]) -> None:
    """From now on, in a thread, cancel jobs of a folder that would wait for ever, and tell what they ask for in vain.

    A reason must be seen twice in a row, as SLURM gives some of them for a moment.
    """
    if shutil.which("squeue") is not None:
        threading.Thread(target=_cancel_hopeless_jobs, args=(Path(folder), tell), daemon=True).start()


def _cancel_hopeless_jobs(folder: Path, tell: Callable[[str], object]) -> None:
    before: set[Submitted] = set()
    while True:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        hopeless = {job for job in submitted_from(folder) if job.state == "PENDING" and job.reason in HOPELESS}
        for job in hopeless & before:
            tell(
                f"The cluster can never run {job.what} (job {job.number}): {job.reason}; it is cancelled. Expected a "
                "partition with the cores, memory, time and GPU that it asks for: see docs/cluster.md."
            )
            _cancel([job.number])
        before = hopeless


def _cancel(numbers: list[str]) -> None:
    if numbers:
        subprocess.run(["scancel", *numbers], capture_output=True, check=False)
