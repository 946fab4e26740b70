"""Statistics over patients."""

from diffufuse.evaluate.schemas import METRICS
from diffufuse.files.records import record_text
from diffufuse.files.tables import read_table, write_table
from diffufuse.logs import job_log
from diffufuse.report.patients import headline, patient_values, summarize
from diffufuse.report.schemas import SUMMARY
from diffufuse.report.writing import write_csv, write_text
from diffufuse.study.cohorts import count_excluded, read_patients

with job_log(snakemake.log[0]):
    metrics, patients = read_table(snakemake.input.metrics, METRICS), read_patients(snakemake.input.cohorts)
    excluded = count_excluded(snakemake.input.cohorts)
    summary = summarize(metrics, patients, excluded=excluded, study_seed=snakemake.params.study_seed)
    write_table(summary, snakemake.output.summary, SUMMARY)
    write_text(record_text(headline(summary)), snakemake.output.record)
    write_csv(patient_values(metrics, patients), snakemake.output.patients)
