"""Join the tables of a study's runs into one."""

from diffufuse.files.tables import write_table
from diffufuse.logs import job_log
from diffufuse.report.joined import JOINED

with job_log(snakemake.log[0]):
    kind = JOINED[snakemake.wildcards.joined]
    write_table(kind.join(snakemake.input, **snakemake.params.chosen), snakemake.output[0], kind.schema)
