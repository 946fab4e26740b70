"""Join the metrics of a study into one table."""

from diffufuse.evaluate.schemas import METRICS
from diffufuse.files.tables import read_tables, write_table
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    write_table(read_tables(snakemake.input, METRICS), snakemake.output[0], METRICS)
