"""Complete one run in MLflow from its files."""

from diffufuse.logs import job_log
from diffufuse.tables import HISTORY, METRICS, read_record, read_table, read_tables, write_record
from diffufuse.tracking import replay

with job_log(snakemake.log[0]):
    source = snakemake.input
    shown = replay(
        source.store,
        read_record(source.plan),
        read_record(source.record),
        history=read_table(source.history, HISTORY),
        metrics=read_tables(source.metrics, METRICS),
        tags={"license": snakemake.params.license},
        artifacts={
            "": [source.plan, source.record],
            "figures": source.figures,
            "overlays": source.overlays,
            "registrations": source.registrations,
        },
    )
    write_record(shown, snakemake.output[0])
