"""Write one table of the report as CSV, Markdown and HTML."""

from diffufuse.logs import job_log
from diffufuse.reporting import TABLES
from diffufuse.reporting.evidence import read_evidence
from diffufuse.reporting.writing import write_csv, write_html, write_markdown

with job_log(snakemake.log[0]):
    name, params = snakemake.wildcards.table, snakemake.params
    table, reading = TABLES[name].build(read_evidence(**snakemake.input, **params.known)), TABLES[name].reading
    write_csv(table, snakemake.output.csv)
    write_markdown(table, snakemake.output.markdown, note=reading)
    write_html(table, snakemake.output.html, title=f"{snakemake.wildcards.study}: {name}", note=reading)
