"""Show a study as one run in MLflow."""

from diffufuse.logs import job_log
from diffufuse.tables import SUMMARY, read_table, write_record
from diffufuse.tracking import show_study

with job_log(snakemake.log[0]):
    source = snakemake.input
    shown = show_study(
        source.store,
        snakemake.params.study,
        summary=read_table(source.summary, SUMMARY),
        artifacts={
            "": [source.page, source.configuration],
            "tables": source.tables,
            "figures": source.figures,
            "pictures": source.pictures,
        },
    )
    write_record(shown, snakemake.output[0])
