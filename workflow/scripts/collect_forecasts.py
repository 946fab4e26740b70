"""Join what was forecast of the voxels of a study's test cases into one table, summed over folds and seeds."""

from diffufuse.evaluate.fold import sum_forecasts
from diffufuse.evaluate.schemas import FORECASTS
from diffufuse.files.tables import read_table, write_table
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    tables = [read_table(path, FORECASTS) for path in snakemake.input]
    write_table(sum_forecasts(tables), snakemake.output[0], FORECASTS)
