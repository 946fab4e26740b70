"""Measure what a trained model costs where it is used."""

from diffufuse.efficiency import measure
from diffufuse.logs import job_log
from diffufuse.tables import EFFICIENCY, LATENCIES, read_record, write_table

with job_log(snakemake.log[0]):
    efficiency, latencies = measure(read_record(snakemake.input.plan), snakemake.input.weights)
    write_table(efficiency, snakemake.output.efficiency, EFFICIENCY)
    write_table(latencies, snakemake.output.latencies, LATENCIES)
