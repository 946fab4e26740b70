"""Show cases of a dataset as they were prepared."""

from diffufuse.logs import job_log
from diffufuse.report.pictures.gallery import Shown, draw
from diffufuse.report.style import write_png
from diffufuse.store.case import read_prepared

with job_log(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    cases = [Shown.of(read_prepared(*files)) for files in zip(source.cases, source.slices, strict=True)]
    kinds = {name: block["kind"] for name, block in params.modalities.items()}
    write_png(
        draw(cases, dataset=snakemake.wildcards.dataset, modalities=kinds, labels=params.labels), snakemake.output[0]
    )
