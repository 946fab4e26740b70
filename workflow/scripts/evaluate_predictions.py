"""Evaluate the predictions of one fold: masks and probabilities by region, and fused images."""

import pandas as pd

from diffufuse.evaluate.fold import evaluate_fold, thresholds_of
from diffufuse.evaluate.fused import evaluate_fused
from diffufuse.evaluate.predicted import Predicted
from diffufuse.evaluate.schemas import CALIBRATIONS, FORECASTS, METRICS
from diffufuse.files.tables import read_tables, write_table
from diffufuse.logs import job_log
from diffufuse.store.fused import records_in

with job_log(snakemake.log[0]):
    source, params, names = snakemake.input, snakemake.params, dict(snakemake.wildcards)
    cases = records_in(source.cases)
    predicted = Predicted(source.predictions, cases, params.regions)
    calibration = read_tables(source.calibration, CALIBRATIONS)
    thresholds = thresholds_of(calibration, params.regions, lesion=params.lesion)
    of_regions, forecasts = evaluate_fold(predicted, thresholds=thresholds, names=names)
    images = {"fused_cases": params.cases, "sources": params.sources}
    of_images = evaluate_fused(source.predictions, cases, **images, names=names)
    write_table(pd.concat([of_regions, of_images], ignore_index=True), snakemake.output.metrics, METRICS)
    write_table(forecasts, snakemake.output.forecasts, FORECASTS)
