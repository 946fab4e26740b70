"""Fill the raw folder of one dataset and write its manifest."""

import os

from diffufuse.fetch.dataset import fetch_dataset
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    fetch_dataset(
        snakemake.params.source,
        snakemake.output.manifest,
        mirror=os.environ.get("DIFFUFUSE_MIRROR"),
        study_seed=snakemake.params.study_seed,
    )
