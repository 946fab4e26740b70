"""Learn from a run's validation patients how far its probabilities can be trusted."""

from diffufuse.evaluation import Predicted
from diffufuse.logs import job_log
from diffufuse.scaling import fit_calibration
from diffufuse.tables import CALIBRATIONS, write_table

with job_log(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    predicted = Predicted(
        source.predictions,
        dict(zip(params.cases, source.references, strict=True)),
        dict(zip(params.cases, source.bodies, strict=True)),
        params.regions,
    )
    found = fit_calibration(predicted, scaling=params.scaling, names=dict(snakemake.wildcards))
    write_table(found, snakemake.output[0], CALIBRATIONS)
