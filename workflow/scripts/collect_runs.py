"""Join what is known of a study's trainings into one table."""

from diffufuse.files.tables import write_table
from diffufuse.logs import job_log
from diffufuse.report.runs import collect_runs
from diffufuse.report.schemas import RUNS

with job_log(snakemake.log[0]):
    write_table(collect_runs(snakemake.input, trained_as=snakemake.params.trained_as), snakemake.output[0], RUNS)
