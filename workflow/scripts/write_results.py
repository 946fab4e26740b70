"""Write a study's results as one page."""

from diffufuse.logs import job_log
from diffufuse.reporting import TABLES
from diffufuse.reporting.evidence import read_evidence
from diffufuse.reporting.page import results_page
from diffufuse.reporting.writing import write_text

with job_log(snakemake.log[0]):
    evidence = read_evidence(**snakemake.input, **snakemake.params.known)
    tables = {name: TABLES[name] for name in snakemake.params.tables}
    write_text(results_page(evidence, tables, study=snakemake.wildcards.study), snakemake.output[0])
