"""Write the images and labels of one case as NIfTI."""

from diffufuse.files import atomic_folder
from diffufuse.formats import FORMATS
from diffufuse.ingestion import ingest_case
from diffufuse.logs import job_log

with job_log(snakemake.log[0]), atomic_folder(snakemake.output[0]) as folder:
    block = snakemake.params.block
    ingest_case(
        FORMATS[block["format"]],
        snakemake.input.manifest,
        snakemake.wildcards.case,
        block=block,
        folder=folder,
    )
