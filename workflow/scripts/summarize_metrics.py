"""Statistics over patients."""

from diffufuse.cases import count_excluded, read_patients
from diffufuse.logs import job_log
from diffufuse.reporting.patients import summarize, summary_record
from diffufuse.tables import METRICS, SUMMARY, read_table, write_record, write_table

with job_log(snakemake.log[0]):
    metrics, patients = read_table(snakemake.input.metrics, METRICS), read_patients(snakemake.input.cohorts)
    excluded = count_excluded(snakemake.input.cohorts)
    summary = summarize(metrics, patients, excluded=excluded, study_seed=snakemake.params.study_seed)
    write_table(summary, snakemake.output.summary, SUMMARY)
    write_record(summary_record(summary), snakemake.output.record)
