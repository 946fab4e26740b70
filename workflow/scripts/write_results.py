"""Write a study's results as one page."""

from diffufuse.logs import job_log
from diffufuse.report.evidence import read_evidence
from diffufuse.report.invariants import require_sound
from diffufuse.report.page import results_page
from diffufuse.report.published import read_published
from diffufuse.report.reported import read_reported
from diffufuse.report.tables import TABLES
from diffufuse.report.writing import write_text

with job_log(snakemake.log[0]):
    paths, study = dict(snakemake.input.items()), snakemake.wildcards.study
    reported, published = read_reported(paths.pop("reported")), read_published(paths.pop("published"))
    evidence = read_evidence(**paths, **snakemake.params.context)
    require_sound(evidence)
    tables = {name: TABLES[name] for name in snakemake.params.tables}
    page = results_page(evidence, tables, study=study, reported=reported, published=published)
    write_text(page, snakemake.output[0])
