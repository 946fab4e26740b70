"""Show one test case with its reference and its predictions under every condition."""

from diffufuse.logs import job_log
from diffufuse.report.pictures.overlay import draw
from diffufuse.report.pictures.rows import overlay_rows
from diffufuse.report.style import write_png
from diffufuse.store.case import read_prepared

with job_log(snakemake.log[0]):
    source, params = snakemake.input, snakemake.params
    region, values = next(iter(params.regions.items()))
    case = read_prepared(source.case, source.slices)
    rows, reference = overlay_rows(
        case,
        source.predictions,
        region=region,
        values=values,
        conditions=params.conditions,
        modalities=params.modalities,
        dataset=snakemake.wildcards.dataset,
        study_seed=params.study_seed,
    )
    kinds = {name: block["kind"] for name, block in params.modalities.items()}
    figure = draw(rows, reference, case=f"{case.name}, {region}", modalities=kinds)
    write_png(figure, snakemake.output[0])
