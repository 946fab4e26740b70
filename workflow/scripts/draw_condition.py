"""Show what a condition does to one case of a dataset."""

from diffufuse.logs import job_log
from diffufuse.report.pictures.condition import Pair, draw
from diffufuse.report.style import write_png
from diffufuse.store.case import read_all_prepared

with job_log(snakemake.log[0]):
    params, names = snakemake.params, snakemake.wildcards
    [case] = read_all_prepared(snakemake.input.case, snakemake.input.slices).values()
    pair = Pair.of(
        case,
        params.condition,
        modalities=params.modalities,
        study_seed=params.study_seed,
        names=(names.dataset, case.name, names.condition),
    )
    kinds = {name: block["kind"] for name, block in params.modalities.items()}
    write_png(draw(pair, title=f"{names.condition}, {case.name}", modalities=kinds), snakemake.output[0])
