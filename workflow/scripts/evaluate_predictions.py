"""Evaluate the predictions of one fold."""

from diffufuse.evaluate.fold import evaluate_fold, thresholds_of
from diffufuse.evaluate.predicted import Predicted
from diffufuse.evaluate.schemas import CALIBRATIONS, FORECASTS, METRICS
from diffufuse.files.tables import read_table, write_table
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    predicted = Predicted(source.predictions, source.cases, params.regions)
    thresholds = thresholds_of(read_table(source.calibration, CALIBRATIONS), params.regions, lesion=params.lesion)
    values, forecasts = evaluate_fold(predicted, thresholds=thresholds, names=dict(snakemake.wildcards))
    write_table(values, snakemake.output.metrics, METRICS)
    write_table(forecasts, snakemake.output.forecasts, FORECASTS)
