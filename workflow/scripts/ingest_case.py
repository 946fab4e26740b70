"""Write the images and labels of one case as NIfTI."""

from diffufuse.datasets import DATASETS
from diffufuse.files import atomic_folder, raw_folder_of
from diffufuse.ingestion import ingest_case
from diffufuse.logs import job_log

with job_log(snakemake.log[0]), atomic_folder(snakemake.output[0]) as folder:
    ingest_case(
        DATASETS[snakemake.wildcards.dataset],
        raw_folder_of(snakemake.input.manifest),
        snakemake.wildcards.case,
        modalities=snakemake.params.modalities,
        reference=snakemake.params.reference,
        folder=folder,
    )
