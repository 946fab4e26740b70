"""List every slice of a dataset's prepared cases with its region and body voxels."""

from diffufuse.files.tables import write_table
from diffufuse.logs import job_log
from diffufuse.store.case import read_all_prepared
from diffufuse.store.index import PATCHES, index_slices

with job_log(snakemake.log[0]):
    cases = read_all_prepared(snakemake.input).values()
    index = index_slices(
        ((case.name, case.slices) for case in cases),
        dataset=snakemake.wildcards.dataset,
        regions=snakemake.params.regions,
    )
    write_table(index, snakemake.output[0], PATCHES)
