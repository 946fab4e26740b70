"""Write one table of the report as CSV, Markdown, LaTeX and HTML."""

from diffufuse.logs import job_log
from diffufuse.report.evidence import read_evidence
from diffufuse.report.invariants import require_sound
from diffufuse.report.lost import lost_note
from diffufuse.report.reported import beside, read_reported
from diffufuse.report.tables import TABLES
from diffufuse.report.writing import write_csv, write_html, write_latex, write_markdown

with job_log(snakemake.log[0]):
    name, output, paths = snakemake.wildcards.table, snakemake.output, dict(snakemake.input.items())
    reported = read_reported(paths.pop("reported"))
    evidence = read_evidence(**paths, **snakemake.params.context)
    require_sound(evidence)
    table, paper_note = beside(TABLES[name].build(evidence), name, reported=reported, evidence=evidence)
    title = f"{snakemake.wildcards.study}: {name}"
    note = " ".join(filter(None, [TABLES[name].reading, lost_note(evidence), paper_note]))
    write_csv(table, output.csv)
    write_markdown(table, output.markdown, note=note)
    write_latex(table, output.latex, caption=title, note=note)
    write_html(table, output.html, title=title, note=note)
