"""Draw one figure of the report, with its table as CSV."""

from diffufuse.logs import job_log
from diffufuse.report.evidence import read_evidence
from diffufuse.report.figures import FIGURES
from diffufuse.report.style import write_figure
from diffufuse.report.writing import write_csv

with job_log(snakemake.log[0]):
    figure = FIGURES[snakemake.wildcards.figure]
    table = figure.data(read_evidence(**snakemake.input, **snakemake.params.context))
    write_csv(table, snakemake.output.csv)
    write_figure(figure.draw(table), snakemake.output.pdf, snakemake.output.png)
