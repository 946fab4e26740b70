"""Fit temperature and conformal threshold on a run's validation patients."""

from diffufuse.evaluate.predicted import Predicted
from diffufuse.evaluate.scaling import fit_calibration
from diffufuse.evaluate.schemas import CALIBRATIONS
from diffufuse.files.tables import write_table
from diffufuse.logs import job_log
from diffufuse.store.fused import records_in

with job_log(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    predicted = Predicted(source.predictions[0], records_in(source.cases), params.regions)
    calibration = fit_calibration(predicted, scaling=params.scaling, names=dict(snakemake.wildcards))
    write_table(calibration, snakemake.output[0], CALIBRATIONS)
