"""Bring the images of one case onto its common grid."""

from diffufuse.figures.registration import draw
from diffufuse.figures.style import write_png
from diffufuse.ingestion import read_ingested
from diffufuse.logs import job_log
from diffufuse.preparation import prepare_case
from diffufuse.prepared import write_prepared

with job_log(snakemake.log[0]):
    case, params, output = snakemake.wildcards.case, snakemake.params, snakemake.output
    images, labels = read_ingested(snakemake.input[0], case, modalities=params.modalities)
    prepared = prepare_case(
        images, labels, modalities=params.modalities, reference=params.reference, spacing_mm=params.spacing_mm
    )
    write_prepared(
        prepared,
        case,
        modalities=params.modalities,
        images=output.images,
        labels=output.labels,
        body=output.body,
        slices=output.slices,
        record=output.record,
    )
    write_png(draw(prepared, case=case), output.picture)
