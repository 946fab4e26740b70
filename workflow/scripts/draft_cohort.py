"""Propose a cohort sheet for one dataset, with a table of what its cases are named in the raw folder."""

from diffufuse.fetch.manifest import fetched_folder_of
from diffufuse.ingest.formats import FORMATS
from diffufuse.ingest.formats.listing import write_names
from diffufuse.ingest.patients import patients_of
from diffufuse.logs import job_log
from diffufuse.study.cohorts import draft_cohort, write_cohort

with job_log(snakemake.log[0]):
    block, manifest = snakemake.params.block, snakemake.input.manifest
    format = FORMATS[block["format"]]
    listing = format.list_cases(fetched_folder_of(manifest), block)
    write_names(listing, snakemake.output.names)
    patients = patients_of(format, manifest, listing.names, block=block)
    cohort = draft_cohort(listing.names, study_seed=snakemake.params.study_seed, patients=patients)
    write_cohort(cohort, snakemake.output.sheet)
