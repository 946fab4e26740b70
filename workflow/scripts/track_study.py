"""Show a study and its runs in MLflow, from files."""

from pathlib import Path

from diffufuse.evaluate.schemas import METRICS
from diffufuse.files.records import write_record
from diffufuse.files.tables import read_table
from diffufuse.logs import job_log
from diffufuse.report.schemas import SUMMARY
from diffufuse.track.study import read_training, show_study

with job_log(snakemake.log[0]):
    source = snakemake.input
    logged = show_study(
        snakemake.params.store,
        **snakemake.params.tracked,
        trainings=[read_training(Path(run).parent) for run in source.runs],
        metrics=read_table(source.metrics, METRICS),
        summary=read_table(source.summary, SUMMARY),
        manifests=source.manifests,
        artifacts={
            "": [source.page, source.configuration],
            "tables": source.tables,
            "figures": source.figures,
            "pictures": source.pictures,
        },
    )
    write_record(logged, snakemake.output[0])
