"""Join what the models of a study cost where they are used into two tables."""

from diffufuse.evaluate.cost_schemas import EFFICIENCY, LATENCIES
from diffufuse.files.tables import read_tables, write_table
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    source, output = snakemake.input, snakemake.output
    write_table(read_tables(source.efficiency, EFFICIENCY), output.efficiency, EFFICIENCY)
    write_table(read_tables(source.latencies, LATENCIES), output.latencies, LATENCIES)
