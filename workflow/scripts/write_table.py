"""Write one table of the report as CSV, Markdown, LaTeX and HTML."""

from diffufuse.logs import job_log
from diffufuse.report.evidence import read_evidence
from diffufuse.report.invariants import require_sound
from diffufuse.report.lost import lost_note
from diffufuse.report.published import among_others, read_published
from diffufuse.report.reported import read_reported
from diffufuse.report.tables import TABLES
from diffufuse.report.writing import unmarked, write_csv, write_html, write_latex, write_markdown

with job_log(snakemake.log[0]):
    name, output, paths = snakemake.wildcards.table, snakemake.output, dict(snakemake.input.items())
    reported, published = read_reported(paths.pop("reported")), read_published(paths.pop("published"))
    evidence = read_evidence(**paths, **snakemake.params.context)
    require_sound(evidence)
    built = TABLES[name].build(evidence)
    table, notes = among_others(built, name, evidence, reported=reported, published=published)
    title = f"{snakemake.wildcards.study}: {name}"
    note = " ".join(filter(None, [TABLES[name].reading, lost_note(evidence), *notes]))
    write_csv(unmarked(table), output.csv)
    write_markdown(table, output.markdown, note=note)
    write_latex(table, output.latex, caption=title, note=note)
    write_html(table, output.html, title=title, note=note)
