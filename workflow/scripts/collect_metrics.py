"""Join the metrics of a study into one table."""

from diffufuse.logs import job_log
from diffufuse.tables import METRICS, read_tables, write_table

with job_log(snakemake.log[0]):
    write_table(read_tables(snakemake.input, METRICS), snakemake.output[0], METRICS)
