"""Fill the raw folder of one dataset and write its manifest."""

import os
from pathlib import Path

from diffufuse.fetching import fetch_dataset, write_manifest
from diffufuse.logs import job_log

with job_log(snakemake.log[0]):
    params, raw = snakemake.params, Path(snakemake.params.raw)
    fetch_dataset(params.source, raw, mirror=os.environ.get("DIFFUFUSE_MIRROR"), study_seed=params.study_seed)
    write_manifest(
        raw, snakemake.output.manifest, source=params.source, license=params.license, citation=params.citation
    )
