"""Propose a cohort sheet for one dataset."""

from diffufuse.fetch.manifest import raw_folder_of
from diffufuse.ingest.formats import FORMATS
from diffufuse.ingest.patients import patients_of
from diffufuse.logs import job_log
from diffufuse.study.cohorts import draft_cohort, write_cohort

with job_log(snakemake.log[0]):
    block, manifest = snakemake.params.block, snakemake.input.manifest
    format = FORMATS[block["format"]]
    names = format.find_cases(raw_folder_of(manifest), block)
    patients = patients_of(format, manifest, names, block=block)
    write_cohort(draft_cohort(names, study_seed=snakemake.params.study_seed, patients=patients), snakemake.output[0])
