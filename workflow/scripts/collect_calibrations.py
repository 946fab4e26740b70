"""Join what the validation cases of a study's runs say into one table."""

from diffufuse.logs import job_log
from diffufuse.tables import CALIBRATIONS, read_tables, write_table

with job_log(snakemake.log[0]):
    write_table(read_tables(snakemake.input, CALIBRATIONS), snakemake.output[0], CALIBRATIONS)
