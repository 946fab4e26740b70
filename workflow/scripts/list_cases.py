"""List the prepared cases of one part of a fold, or all, so that later jobs depend on one file."""

from diffufuse.logs import job_log
from diffufuse.store.case_lists import write_case_list

with job_log(snakemake.log[0]):
    write_case_list(snakemake.input, snakemake.output[0])
