"""Write the images and labels of one case as NIfTI."""

from diffufuse.ingest.case import ingest_case
from diffufuse.ingest.formats import FORMATS
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    block = snakemake.params.block
    ingest_case(
        FORMATS[block["format"]],
        snakemake.input.manifest,
        snakemake.wildcards.case,
        block=block,
        folder=snakemake.output.folder,
        record=snakemake.output.record,
    )
