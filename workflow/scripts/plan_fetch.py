"""Report what a fetch of the study's datasets would download."""

import os
from pathlib import Path

from diffufuse.fetch.plan import log_plan
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    log_plan(snakemake.params.datasets, Path("data/raw"), mirror=os.environ.get("DIFFUFUSE_MIRROR"))
