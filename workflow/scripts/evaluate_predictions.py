"""Compare the predictions of one fold with their references."""

from diffufuse.evaluation import evaluate_folder
from diffufuse.logs import job_log
from diffufuse.tables import METRICS, write_table

with job_log(snakemake.log[0]):
    values = evaluate_folder(
        snakemake.input.predictions,
        dict(zip(snakemake.params.cases, snakemake.input.references, strict=True)),
        bodies=dict(zip(snakemake.params.cases, snakemake.input.bodies, strict=True)),
        regions=snakemake.params.regions,
        metrics=snakemake.params.metrics,
        names=dict(snakemake.wildcards),
    )
    write_table(values, snakemake.output[0], METRICS)
