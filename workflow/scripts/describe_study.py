"""Write the configuration page of a study."""

from diffufuse.files.tables import read_table
from diffufuse.logs import job_log
from diffufuse.report.schemas import RUNS
from diffufuse.report.study_page import study_page
from diffufuse.report.writing import write_text

with job_log(snakemake.log[0]):
    commits = read_table(snakemake.input[0], RUNS)["commit"].unique()
    page = study_page(snakemake.params.study, snakemake.params.context, commits=commits)
    write_text(page, snakemake.output[0])
