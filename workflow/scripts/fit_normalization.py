"""Measure the constants of normalization on the training cases of one fold."""

from diffufuse.constants import fit_constants
from diffufuse.logs import job_log
from diffufuse.prepared import read_all_prepared
from diffufuse.tables import write_record

with job_log(snakemake.log[0]):
    cases = read_all_prepared(snakemake.input.cases, snakemake.input.slices)
    write_record(fit_constants(cases.values(), modalities=snakemake.params.modalities), snakemake.output[0])
