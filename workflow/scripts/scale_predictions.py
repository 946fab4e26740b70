"""Scale the probabilities of one run by the temperature of its validation patients."""

from diffufuse.evaluate.scaling import scale_predictions
from diffufuse.evaluate.schemas import CALIBRATIONS
from diffufuse.files.atomic import atomic_folder
from diffufuse.files.tables import read_table
from diffufuse.logs import job_log

with job_log(snakemake.log[0]), atomic_folder(snakemake.output[0]) as folder:
    calibration = read_table(snakemake.input.calibration, CALIBRATIONS)
    scale_predictions(snakemake.input.predictions[0], folder, calibration=calibration, lesion=snakemake.params.lesion)
