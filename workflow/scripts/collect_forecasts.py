"""Join what was forecast of the voxels of a study's test cases into one table, summed over folds and seeds."""

from diffufuse.evaluation import sum_forecasts
from diffufuse.logs import job_log
from diffufuse.tables import FORECASTS, read_table, write_table

with job_log(snakemake.log[0]):
    tables = [read_table(path, FORECASTS) for path in snakemake.input]
    write_table(sum_forecasts(tables), snakemake.output[0], FORECASTS)
