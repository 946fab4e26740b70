"""A small study that is killed and hindered, and what may be left of that: its answers and nothing else."""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from coarse_study import LONGER, MODEL, SNAKEMAKE, copy_of_the_product, edit, shrink

from diffufuse.evaluate.schemas import METRICS
from diffufuse.files.atomic import PARTIAL
from diffufuse.files.digests import sha256_of
from diffufuse.files.tables import read_table
from diffufuse.plan.plans import WEIGHTS

# A job whose head was killed ends within this time, saving its state if it trains.
SECONDS_TO_END = 40.0


@dataclass(frozen=True)
class Answers:
    """What a study found, to the bit.

    Attributes:
        metrics: every patient's values.
        weights: the SHA-256 of the weights of each trained model.
    """

    metrics: str
    weights: tuple[str, ...]


def new_study(folder):
    """Two patients, two trainings of seconds, and all tables, figures and runs that follow from them."""
    shrink(copy_of_the_product(folder))
    edit(folder / "config/config.yaml", lambda c: c["study"].update(models=[MODEL, LONGER]))
    return folder


def start(folder, *arguments, **variables):
    """Start the study in a process group of its own; what it tells goes to `head.log`."""
    kept = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    with (folder / "head.log").open("w") as log:
        return subprocess.Popen(
            [SNAKEMAKE, *arguments],
            cwd=folder,
            env=kept | {"PYTHONPATH": str(folder / "src")} | variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def told(folder):
    return (folder / "head.log").read_text()


def run_to_the_end(folder, *arguments, **variables):
    """Run the study, which must succeed without a word of help."""
    assert start(folder, *arguments, **variables).wait() == 0, told(folder)[-4000:]


def nothing_is_to_be_done(folder, *targets):
    run_to_the_end(folder, "--dry-run", *targets)
    return "Nothing to be done" in told(folder)


def answers(folder):
    weights = sorted((folder / "results/train").rglob(WEIGHTS))
    metrics = read_table(folder / "results/report/phantom/metrics.parquet", METRICS)
    return Answers(metrics.to_csv(index=False), tuple(sha256_of(path) for path in weights))


def processes_of(folder):
    """The processes that work in a folder, and the script that each runs, if any."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                script = re.search(r"/scripts/tmp\w+\.(\w+)\.py", " ".join(process.cmdline()))
                found[process] = script and script[1]
    return found


def orphans(folder):
    """The processes that go on when no head is left, after the time that they have to end."""
    deadline = time.monotonic() + SECONDS_TO_END
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return [" ".join(process.cmdline()) for process in left if process.is_running()]


def leftovers(folder):
    """Files that no finished run has: half-written ones, and checkpoints of ended trainings.

    Scripts of killed jobs are removed by a start a minute later, so they are no fault here.
    """
    half_written = [path for path in (folder / "results").rglob(".*") if PARTIAL.match(path.name)]
    return [*half_written, *(folder / "results").rglob("checkpoints/*")]


def kill_head(head, folder, generator):
    """As `kill -9` of the one process that somebody sees; its jobs find out by themselves."""
    os.kill(head.pid, signal.SIGKILL)


def kill_group(head, folder, generator):
    """As the end of a container, or of a machine."""
    os.killpg(head.pid, signal.SIGKILL)


def end_head(head, folder, generator):
    """As a shutdown, or Ctrl-C in another terminal."""
    os.kill(head.pid, signal.SIGTERM)


def kill_job(head, folder, generator):
    """As the kernel does when memory runs out: one job goes, and the head ends when the others have ended."""
    jobs = [process for process, script in processes_of(folder).items() if script]
    if jobs:
        generator.choice(jobs).kill()
    else:
        kill_head(head, folder, generator)


KILLS = {"head": kill_head, "group": kill_group, "ended": end_head, "job": kill_job}


def start_anew(folder):
    """Remove all results, as after a finished study."""
    shutil.rmtree(folder / "results")
    shutil.rmtree(folder / "data")
    shutil.rmtree(folder / ".snakemake")
