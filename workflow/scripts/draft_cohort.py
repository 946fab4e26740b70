"""Propose a cohort sheet for one dataset."""

from diffufuse.cases import draft_cohort, write_cohort
from diffufuse.files import raw_folder_of
from diffufuse.formats import FORMATS
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    block = snakemake.params.block
    names = FORMATS[block["format"]].find_cases(raw_folder_of(snakemake.input.manifest), block)
    write_cohort(draft_cohort(names, study_seed=snakemake.params.study_seed), snakemake.output[0])
