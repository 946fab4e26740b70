"""Fit the normalization constants on the training cases of one fold."""

from diffufuse.files.records import write_record
from diffufuse.logs import job_log
from diffufuse.plan.constants import fit_constants
from diffufuse.store.case import read_all_prepared
from diffufuse.store.fused import records_in

with job_log(snakemake.log[0]):
    cases, params = read_all_prepared(records_in(snakemake.input)), snakemake.params
    training = [cases[name] for name in params.cases]
    write_record(fit_constants(training, modalities=params.modalities), snakemake.output[0])
