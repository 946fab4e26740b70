"""Compare the predictions of one fold with their references."""

from diffufuse.evaluation import Predicted, evaluate_fold, thresholds_of
from diffufuse.logs import job_log
from diffufuse.tables import CALIBRATIONS, FORECASTS, METRICS, read_table, write_table

with job_log(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    predicted = Predicted(
        source.predictions,
        dict(zip(params.cases, source.references, strict=True)),
        dict(zip(params.cases, source.bodies, strict=True)),
        params.regions,
    )
    thresholds = thresholds_of(read_table(source.calibration, CALIBRATIONS), params.regions, lesion=params.lesion)
    values, forecasts = evaluate_fold(
        predicted, metrics=params.metrics, thresholds=thresholds, names=dict(snakemake.wildcards)
    )
    write_table(values, snakemake.output.metrics, METRICS)
    write_table(forecasts, snakemake.output.forecasts, FORECASTS)
