"""Describe a study: its exact configuration, its data with licenses and citations."""

from diffufuse.logs import job_log
from diffufuse.report.study_page import study_page
from diffufuse.report.writing import write_text
from diffufuse.study.provenance import commit

with job_log(snakemake.log[0]):
    page = study_page(snakemake.params.study, snakemake.params.known, commit=commit())
    write_text(page, snakemake.output[0])
