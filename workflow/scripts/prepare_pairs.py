"""Read, check and store the pairs of pictures of one set."""

from diffufuse.logs import job_log
from diffufuse.prepare.pairs import prepare_pairs

with job_log(snakemake.log[0]):
    prepare_pairs(
        snakemake.input.manifest,
        block=snakemake.params.block,
        parts={case: tuple(part) for case, part in snakemake.params.parts.items()},
        folder=snakemake.output.folder,
        record=snakemake.output.record,
    )
