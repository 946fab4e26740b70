"""The end of a run with bad cases: who stopped, why, and the line that excludes them."""

import subprocess
import sys

from diffufuse.study.cohorts import Case, Cohort, read_cohort, write_cohort
from diffufuse.study.stopped import closing_message, stopped_cases

A, B, C = (Case(name, name, 0, None, "") for name in "ABC")
REASON = "data/raw/x/B/7.dcm: expected a whole DICOM file, but its 12 bytes cannot be read; fetch it again."
JOB = """
import sys
from pathlib import Path
from diffufuse.errors import BadInput
from diffufuse.logs import job_log

case, log, result, reason = sys.argv[1:]
with job_log(log):
    if case == "B":
        raise BadInput(reason)
    Path(result).touch()
"""


def run(tmp_path):
    """A and C come through; B is refused by its job, each a process of its own as in a real run."""
    result, log = f"{tmp_path}/ingest/{{case}}", f"{tmp_path}/ingest/{{case}}.log"
    for case in "ABC":
        paths = (path.format(case=case) for path in (log, result))
        subprocess.run([sys.executable, "-c", JOB, case, *paths, REASON], capture_output=True, check=False)
    return {"ingest": (result, log)}


def test_a_case_that_stopped_is_listed_with_its_sentence(tmp_path):
    found = stopped_cases({"x": Cohort((A, B, C))}, stages=run(tmp_path))
    assert [(entry.case.name, entry.stage, entry.reason) for entry in found] == [("B", "ingest", REASON)]
    told = closing_message(found, sheet="config/cohorts/{dataset}.tsv")
    assert f"B, ingest: {REASON}" in told
    assert "config/cohorts/x.tsv" in told


def test_the_line_that_is_offered_excludes_the_case(tmp_path):
    [entry] = stopped_cases({"x": Cohort((A, B, C))}, stages=run(tmp_path))
    header = "case\tpatient\tfold\tvalidates\tsite\texcluded\n"
    (tmp_path / "x.tsv").write_text(f"{header}A\tA\t0\t-\t\t-\n{entry.sheet_line}\n")
    cohort = read_cohort(tmp_path / "x.tsv")
    assert cohort.names == ["A"]
    assert cohort.excluded[0].excluded.startswith("ingest: expected a whole DICOM file")


def test_the_first_line_that_is_offered_seals_the_sheet_in_which_the_case_is_excluded(tmp_path):
    cohort = Cohort((A, B, C))
    write_cohort(cohort, tmp_path / "x.tsv")
    found = stopped_cases({"x": cohort}, stages=run(tmp_path))
    told = closing_message(found, sheet=f"{tmp_path}/{{dataset}}.tsv")
    _, header, *rows = (tmp_path / "x.tsv").read_text().splitlines()
    rows = [found[0].sheet_line if row.startswith("B\t") else row for row in rows]
    (tmp_path / "x.tsv").write_text("\n".join([told.split("`")[1], header, *rows]))
    assert [case.name for case in read_cohort(tmp_path / "x.tsv").excluded] == ["B"]


def test_a_case_that_was_mended_is_not_listed(tmp_path):
    stages = run(tmp_path)
    (tmp_path / "ingest" / "B").touch()
    found = stopped_cases({"x": Cohort((A, B, C))}, stages=stages)
    assert found == []
    assert closing_message(found, sheet="") == ""
