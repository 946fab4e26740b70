"""Draw one figure of the report, with its numbers beside it."""

from diffufuse.cases import read_patients
from diffufuse.figures import FIGURES
from diffufuse.figures.style import write_figure
from diffufuse.logs import job_log
from diffufuse.reporting.writing import write_csv
from diffufuse.tables import METRICS, read_table

with job_log(snakemake.log[0]):
    figure, metrics = FIGURES[snakemake.wildcards.figure], read_table(snakemake.input.metrics, METRICS)
    table = figure.data(metrics, read_patients(snakemake.input.cohorts), snakemake.params.study_seed)
    write_csv(table, snakemake.output.csv)
    write_figure(figure.draw(table), snakemake.output.pdf, snakemake.output.png)
