"""Complete one run in MLflow from its files."""

from diffufuse.evaluate.schemas import METRICS
from diffufuse.files.records import read_record, write_record
from diffufuse.files.tables import read_table
from diffufuse.logs import job_log
from diffufuse.track.runs import replay
from diffufuse.train.history import HISTORY

with job_log(snakemake.log[0]):
    source = snakemake.input
    logged = replay(
        snakemake.params.store,
        read_record(source.plan),
        read_record(source.record),
        history=read_table(source.history, HISTORY),
        metrics=read_table(source.metrics, METRICS),
        tags={"license": snakemake.params.license},
        artifacts={"": [source.plan, source.record]},
    )
    write_record(logged, snakemake.output[0])
