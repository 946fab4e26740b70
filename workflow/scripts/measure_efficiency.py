"""Measure the inference cost of a trained model."""

from diffufuse.evaluate.cost_schemas import EFFICIENCY, LATENCIES
from diffufuse.evaluate.efficiency import measure
from diffufuse.files.records import read_record
from diffufuse.files.tables import write_table
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    efficiency, latencies = measure(read_record(snakemake.input.plan), snakemake.input.weights)
    write_table(efficiency, snakemake.output.efficiency, EFFICIENCY)
    write_table(latencies, snakemake.output.latencies, LATENCIES)
