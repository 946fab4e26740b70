"""Join what the validation cases of a study's runs say into one table."""

from diffufuse.evaluate.schemas import CALIBRATIONS
from diffufuse.files.tables import read_tables, write_table
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    write_table(read_tables(snakemake.input, CALIBRATIONS), snakemake.output[0], CALIBRATIONS)
