"""Propose a cohort sheet for one dataset."""

from diffufuse.cases import draft_cohort, write_cohort
from diffufuse.datasets import DATASETS
from diffufuse.files import raw_folder_of
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    names = DATASETS[snakemake.wildcards.dataset].find_cases(raw_folder_of(snakemake.input.manifest))
    write_cohort(draft_cohort(names, study_seed=snakemake.params.study_seed), snakemake.output[0])
