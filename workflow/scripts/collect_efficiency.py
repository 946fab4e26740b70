"""Join what the models of a study cost where they are used into two tables."""

from diffufuse.logs import job_log
from diffufuse.tables import EFFICIENCY, LATENCIES, read_tables, write_table

with job_log(snakemake.log[0]):
    source, output = snakemake.input, snakemake.output
    write_table(read_tables(source.efficiency, EFFICIENCY), output.efficiency, EFFICIENCY)
    write_table(read_tables(source.latencies, LATENCIES), output.latencies, LATENCIES)
