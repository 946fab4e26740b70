"""Write one table of the report as CSV and Markdown."""

from diffufuse.logs import job_log
from diffufuse.reporting import TABLES, write_csv, write_html, write_markdown
from diffufuse.tables import SUMMARY, read_table

with job_log(snakemake.log[0]):
    table = TABLES[snakemake.wildcards.table](read_table(snakemake.input[0], SUMMARY), snakemake.params.metrics)
    write_csv(table, snakemake.output.csv)
    write_markdown(table, snakemake.output.markdown)
    write_html(table, snakemake.output.html, title=f"{snakemake.wildcards.study}: {snakemake.wildcards.table}")
