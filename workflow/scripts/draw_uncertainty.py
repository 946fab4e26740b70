"""Show where a model is in doubt about one test case, and keep the map as NIfTI."""

from diffufuse.logs import job_log
from diffufuse.report.pictures.rows import map_doubt, reference_of
from diffufuse.report.pictures.uncertainty import draw
from diffufuse.report.style import write_png
from diffufuse.store.case import read_prepared

with job_log(snakemake.log[0]):
    source, params, names = snakemake.input, snakemake.params, snakemake.wildcards
    region, values = next(iter(params.regions.items()))
    case = read_prepared(source.case, source.slices)
    probability, doubt_bits = map_doubt(case, source.predictions, snakemake.output.map, region=region)
    figure = draw(
        case.scan,
        reference_of(case, values),
        probability,
        doubt_bits,
        spacing_mm=case.spacing_mm,
        case=f"{case.name}, {region}, {names.model}",
        modalities={name: block["kind"] for name, block in params.modalities.items()},
    )
    write_png(figure, snakemake.output.picture)
