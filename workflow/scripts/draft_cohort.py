"""Propose a cohort sheet for one dataset."""

from pathlib import Path

from diffufuse.cases import draft_cohort, write_cohort
from diffufuse.datasets import DATASETS
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    names = DATASETS[snakemake.wildcards.dataset].find_cases(Path(snakemake.params.raw))
    write_cohort(draft_cohort(names, study_seed=snakemake.params.study_seed), snakemake.output[0])
