# The checked study, the form of every wildcard, and the end of a run that could not bring every case through.
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from diffufuse.errors import BadInput
from diffufuse.files.atomic import remove_leftovers, remove_unused_scripts
from diffufuse.files.dates import date_back
from diffufuse.logs import set_umask
from diffufuse.processes import asked
from diffufuse.study import slurm
from diffufuse.study.run_lock import RunLock
from diffufuse.study.stopped import closing_message, stopped_cases
from diffufuse.study.read import read_study
from diffufuse.study.resources import growing
from diffufuse.track.address import require_shareable

try:
    set_umask()  # of the folders that Snakemake makes, and of all jobs
    STUDY = read_study(config, Path(workflow.basedir))
    PROCESSES = asked()  # that share one training, each on its own GPU
except BadInput as error:
    raise WorkflowError(str(error)) from None

# Jobs inherit these; the mirror says where data lies, not what it is, so no result may depend on it.
os.environ.update(
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_EXPERIMENT_NAME=STUDY.name,
    DIFFUFUSE_WORKFLOW="runs",
)
if "mirror" in config:
    os.environ.update(DIFFUFUSE_MIRROR=config["mirror"])


wildcard_constraints:
    dataset="|".join(config["datasets"]),
    trained_on="|".join(config["datasets"]),
    case=r"[A-Za-z0-9-]+",
    part=r"test|validation|training",
    listed=r"all|(test|validation|training)-[0-9]+",
    condition="|".join(map(re.escape, config["conditions"])),
    model="|".join(config["models"]),
    fold=r"[0-9]+",
    seed=r"[0-9]+",
    study=STUDY.name,
    figure=r"[a-z_]+",
    table=r"[a-z_]+",
    picture=r"gallery|conditions|extremes|overlays|uncertainty|fused|edge_profiles",
    subject=r"[A-Za-z0-9_.-]+(/[A-Za-z0-9-]+)?",


RUN_LOCK = RunLock("results/.run.lock")


onstart:
    try:
        RUN_LOCK.hold()
        cluster = not workflow.local_exec or "SLURM_JOB_ID" in os.environ
        require_shareable(STUDY.parameters.store({}), cluster=cluster)
    except BadInput as error:
        raise WorkflowError(str(error)) from None
    if slurm.wait_for_left_jobs(".", logger.warning):
        slurm.start_again()
    slurm.cancel_hopeless_jobs(".", logger.error)
    remove_leftovers("results")
    date_back("data", "results", tell=logger.warning)
    remove_unused_scripts(".snakemake/scripts")


onerror:
    message = closing_message(
        stopped_cases(
            STUDY.cohorts,
            stages={
                "ingest": (
                    "results/ingest/{dataset}/{case}.json",
                    "results/logs/ingest/{dataset}/{case}.log",
                ),
                "prepare": (
                    "results/prepare/{dataset}/{case}/{case}.json",
                    "results/logs/prepare/{dataset}/{case}.log",
                ),
            },
        ),
        sheet="config/cohorts/{dataset}.tsv",
    )
    sys.stderr.write(message and f"\n{message}\n")
