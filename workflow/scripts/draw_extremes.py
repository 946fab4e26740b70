"""Show the test cases on which a model did best, as usual, and worst."""

from diffufuse.evaluate.schemas import METRICS
from diffufuse.files.tables import read_table
from diffufuse.logs import job_log
from diffufuse.report.pictures.extremes import draw, ranked_cases
from diffufuse.report.pictures.rows import ranked_rows
from diffufuse.report.style import write_png
from diffufuse.store.case import read_all_prepared

with job_log(snakemake.log[0]):
    source, params, names = snakemake.input, snakemake.params, snakemake.wildcards
    region, values = next(iter(params.regions.items()))
    clean = {"dataset": names.dataset, "trained_on": names.dataset, "model": names.model, "condition": "clean"}
    found = read_table(source.metrics, METRICS)
    ranks = ranked_cases(found[(found[[*clean, "region"]] == [*clean.values(), region]).all(axis=1)])
    cases = read_all_prepared(source.cases, source.slices)
    rows = ranked_rows(cases, ranks, params.predictions, region=region, values=values)
    kinds = {name: block["kind"] for name, block in params.modalities.items()}
    title = f"{names.model} on {names.dataset}, {region}: best, median and worst of {len(cases)} by Dice"
    write_png(draw(rows, title=title, modalities=kinds), snakemake.output[0])
