"""Write what a dry run with the profile of the cluster would submit: a JSON line for each call of `sbatch`.

`python slurm_submissions.py FILE [arguments of snakemake]`. Profile, rules, groups and the plug-in that writes the call
are the real ones; nothing is submitted.
"""

import json
import sys
from pathlib import Path

from snakemake.cli import main
from snakemake.executors.dryrun import Executor
from snakemake.resources import GroupResources
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string


def submission_of(job):
    """The rules of a job or of a group of jobs, and the call that submits it."""
    wanted = {name: job.resources.get(name) for name in ("slurm_partition", "slurm_account")}
    facts = {"run_uuid": "run", "slurm_logfile": "log", "comment_str": job.name, "workdir": None}
    flags = {"partition": f"-p {wanted['slurm_partition']}", "account": f"-A {wanted['slurm_account']}"}
    call = get_submit_command(job, facts | flags) + set_gres_string(job)
    rules = sorted(member.rule.name for member in job) if job.is_group() else [job.rule.name]
    return {"rules": rules, "call": call}


if __name__ == "__main__":
    file, *arguments = sys.argv[1:]
    run_job, resources_of_group = Executor.run_job, GroupResources.basic_layered

    def as_submitted(*jobs, **how):
        """What a group asks for when it is submitted; a dry run would sum what its steps ask for one after another."""
        return resources_of_group(*jobs, **how | {"run_local": False})

    with Path(file).open("w") as lines:

        def run_and_write(executor, job):
            if job.is_group() or job.rule.name not in executor.workflow._localrules | {"all"}:
                lines.write(json.dumps(submission_of(job)) + "\n")
            run_job(executor, job)

        Executor.run_job, GroupResources.basic_layered = run_and_write, as_submitted
        main([*arguments, "--profile", "slurm", "--dry-run", "--quiet", "all"])
