"""Show a study as one run in MLflow."""

from diffufuse.files.records import write_record
from diffufuse.files.tables import read_table
from diffufuse.logs import job_log
from diffufuse.report.schemas import SUMMARY
from diffufuse.track.runs import show_study

with job_log(snakemake.log[0]):
    source = snakemake.input
    logged = show_study(
        snakemake.params.store,
        snakemake.params.study,
        summary=read_table(source.summary, SUMMARY),
        artifacts={
            "": [source.page, source.configuration],
            "tables": source.tables,
            "figures": source.figures,
            "pictures": source.pictures,
        },
    )
    write_record(logged, snakemake.output[0])
