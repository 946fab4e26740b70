"""Propose a cohort sheet for one dataset."""

from diffufuse.fetch.manifest import raw_folder_of
from diffufuse.ingest.formats import FORMATS
from diffufuse.logs import job_log
from diffufuse.study.cohorts import draft_cohort, write_cohort

with job_log(snakemake.log[0]):
    block = snakemake.params.block
    names = FORMATS[block["format"]].find_cases(raw_folder_of(snakemake.input.manifest), block)
    write_cohort(draft_cohort(names, study_seed=snakemake.params.study_seed), snakemake.output[0])
