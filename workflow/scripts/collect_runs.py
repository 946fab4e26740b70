"""Join what is known of a study's trainings into one table."""

from diffufuse.logs import job_log
from diffufuse.reporting.runs import collect_runs
from diffufuse.tables import RUNS, write_table

with job_log(snakemake.log[0]):
    write_table(collect_runs(snakemake.input, trained_as=snakemake.params.trained_as), snakemake.output[0], RUNS)
