"""Fill the raw folder of one dataset and write its manifest."""

import os

from diffufuse.fetching import fetch_dataset, write_manifest
from diffufuse.files import raw_folder_of
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    params, manifest = snakemake.params, snakemake.output.manifest
    raw = raw_folder_of(manifest)
    fetch_dataset(params.source, raw, mirror=os.environ.get("DIFFUFUSE_MIRROR"), study_seed=params.study_seed)
    write_manifest(raw, manifest, source=params.source, license=params.license, citation=params.citation)
