"""Draw one picture of cases: as prepared, under a condition, or with their predictions."""

from diffufuse.logs import job_log
from diffufuse.report.pictures import PICTURES
from diffufuse.report.pictures.inputs import Inputs
from diffufuse.report.style import write_png
from diffufuse.store.case import read_all_prepared
from diffufuse.store.fused import records_in

with job_log(snakemake.log[0]):
    source, draw = snakemake.input, PICTURES[snakemake.wildcards.picture]
    inputs = Inputs(list(read_all_prepared(records_in(source.cases)).values()), source.predictions, source.metrics)
    write_png(draw(inputs, **snakemake.params.settings), snakemake.output[0])
