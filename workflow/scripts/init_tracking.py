"""Create the MLflow store before any training writes to it."""

from diffufuse.logs import job_log
from diffufuse.track.client import init_store

with job_log(snakemake.log[0]):
    init_store(snakemake.output[0])
