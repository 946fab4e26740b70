"""Register and resample the images of one case to its common grid."""

from diffufuse.ingest.ingested import read_ingested
from diffufuse.logs import job_log
from diffufuse.prepare.case import prepare_case, require_sound
from diffufuse.prepare.picture import draw, write_png
from diffufuse.prepare.registration import write_transforms
from diffufuse.prepare.writing import write_prepared

with job_log(snakemake.log.text):
    case, params, output, picture = snakemake.wildcards.case, snakemake.params, snakemake.output, snakemake.log.picture
    images, labels = read_ingested(snakemake.input[0], modalities=params.modalities)
    grid = {key: params.registration[key] for key in ("reference", "spacing_mm", "transform")}
    prepared = prepare_case(images, labels, modalities=params.modalities, **grid)
    write_png(draw(prepared, case=case), picture)
    require_sound(prepared, case, gate=params.registration["gate"], picture=picture)
    write_prepared(
        prepared,
        case,
        modalities=params.modalities,
        images=output.images,
        labels=output.labels,
        body=output.body,
        masks=output.masks,
        slices=output.slices,
        record=output.record,
    )
    write_transforms(prepared.transforms, output.transforms, case=case)
    write_png(draw(prepared, case=case), output.picture)
