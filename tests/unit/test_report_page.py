import re

import pandas as pd
from small_studies import (
    BASE,
    PEOPLE,
    SCHEMAS,
    compared,
    evidence_of,
    full,
    pairs_of,
    runs_in,
)

from diffufuse.files.tables import write_table
from diffufuse.report.evidence import read_evidence
from diffufuse.report.page import results_page
from diffufuse.report.published import COLUMNS as OF_IMAGES
from diffufuse.report.reported import COLUMNS
from diffufuse.report.tables import TABLES
from diffufuse.report.tables.segmentation import segmentation
from diffufuse.report.writing import escaped, write_csv, write_html, write_latex, write_markdown

NOTHING = pd.DataFrame(columns=COLUMNS)
ROW = {"table": "comparison", "number": "8", "row": "better", "column": "dice difference", "value": "3.9"}
NO_IMAGES = pd.DataFrame(columns=OF_IMAGES)
REPORTED = pd.DataFrame([ROW | {"unit": "points", "cohort": "sts", "remark": "So it is printed."}])


def test_the_page_tells_where_the_numbers_come_from_and_what_they_show(tmp_path):
    apart = [value + 0.1 + 0.01 * number for number, value in enumerate(BASE)]
    runs = runs_in(tmp_path, {}, {"fold": 1, "commit": "fedcba9876543210"}, trained_as={"unet2d": "unet2d"})
    known = {"dataset": "sts", "model": "unet2d", "seed": 0, "region": "tumor", "nll_before": 0.4, "nll_after": 0.4}
    fitted = [known | {"fold": fold, "patients": 4 + fold, "temperature": 1.0, "threshold": 0.9} for fold in (0, 1)]
    calibrations = pd.DataFrame(fitted)
    values = [
        (case, condition, model, seed, {**full(), **dice})
        for case, condition, model, seed, dice in pairs_of(unet2d=BASE, better=apart, same=BASE)
    ]
    page = results_page(
        compared(*values, runs=runs, calibrations=calibrations, asked=("dice",)),
        TABLES,
        study="a_study",
        reported=REPORTED,
        published=NO_IMAGES,
    )
    assert page.startswith(
        "# Results of the study a_study\n\nSegmentation of tumor in sts: 3 models under 1 condition."
    )
    for told in (
        "- Patients: sts: 8 patients, 2 cases excluded.",
        "- Folds 0; seeds 0; study seed 1.",
        "- Code: commit 0123456789-dirty, fedcba9876; torch 2.13.0+cpu.",
        "- Trained 2026-11-21 on cpu, 1 thread, 32-true.",
        "- dice, clean: differ: better (+0.135); not shown to differ: same.",
        "- Calibrated on 4 to 5 validation patients a fold, none of them tested in it.",
        "## Comparison (Table 8 of the paper)",
        "## Missing modalities\n",
        "difference 3.9 points |",
        "So it is printed.",
        *(table.reading for table in TABLES.values()),
    ):
        assert told in page
    headings = re.findall(r"^## ([A-Z][a-z]+)", page, re.M)
    assert headings == [name.split("_")[0].capitalize() for name in TABLES] + ["What"]


def test_the_page_of_one_model_has_no_verdicts():
    tables = {"comparison": TABLES["comparison"]}
    page = results_page(compared(*pairs_of(unet2d=BASE)), tables, study="one", reported=NOTHING, published=NO_IMAGES)
    assert "1 model under" in page
    assert "What is shown" not in page


def test_written_tables_are_text_that_others_can_read(tmp_path):
    table = segmentation(evidence_of(("A-1", "clean", "unet2d", 0, full(dice=0.7)), ("B-1", "no-pet", "x", 0, full())))
    write_csv(table, tmp_path / "table.csv")
    write_markdown(table, tmp_path / "table.md", note="Data: CC BY 3.0.")
    write_html(table, tmp_path / "table.html", title="A study", note="p < 0.05")
    assert "p &lt; 0.05" in (tmp_path / "table.html").read_text()
    assert pd.read_csv(tmp_path / "table.csv", dtype=str).equals(table)
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[2].split("|")[5].strip() == "1"
    assert "0.700" in lines[2]
    assert lines[-1] == "Data: CC BY 3.0."


def test_evidence_is_read_as_it_was_written(tmp_path):
    found = compared(*pairs_of(unet2d=BASE), runs=runs_in(tmp_path, {}, trained_as={"unet2d": "unet2d"}))
    for name, schema in SCHEMAS.items():
        write_table(getattr(found, name), tmp_path / f"{name}.parquet", schema)
    rows = [f"{case}\t{case}\t0\t-\t\t-" for case in PEOPLE]
    (tmp_path / "sts.tsv").write_text("\n".join(["case\tpatient\tfold\tvalidates\tsite\texcluded", *rows]))
    config = ("conditions", "models", "datasets", "asked", "compare_with", "transfers", "study_seed")
    known = {name: getattr(found, name) for name in config}
    paths = {name: tmp_path / f"{name}.parquet" for name in SCHEMAS}
    read = read_evidence(**paths, cohorts=[tmp_path / "sts.tsv"], **known)
    assert read.patients == PEOPLE
    assert read.metrics["value"].tolist() == BASE
    assert read.runs["parameters"].tolist() == [1_004_000]


def balanced(text):
    depth = 0
    for sign in re.sub(r"\\\\[{}]", "", text):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    return depth == 0


def test_a_table_in_latex_has_one_cell_a_column_and_no_command_of_its_own(tmp_path):
    table = pd.DataFrame(
        [{"a_b": "50 % & $x$ #1", "c": "-2.5 [-3.0, -1.0]"}, {"a_b": "[0.1, 0.2]", "c": "< 0.001 {~^|}"}]
    )
    write_latex(table, tmp_path / "table.tex", caption="study: a_table", note=r"A note with 95 % \\ and no-pet.")
    text = (tmp_path / "table.tex").read_text()
    assert balanced(text)
    assert text.count(r"\begin{") == text.count(r"\end{") == 1
    lines = {line for line in text.splitlines() if " & " in line}
    assert lines == {
        r"a\_b & c \\",
        r"50 \% \& \$x\$ \#1 & $-$2.5 {[}$-$3.0, $-$1.0] \\",
        r"{[}0.1, 0.2] & \textless{} 0.001 \{\textasciitilde{}\textasciicircum{}\textbar{}\} \\",
    }
    assert r"\caption{study: a\_table}" in text
    assert r"95 \% \textbackslash{}\textbackslash{} and no-pet." in text


def test_a_hyphen_in_a_name_is_no_minus():
    assert escaped("gauss-0.5 (-2.5), STS-001") == "gauss-0.5 ($-$2.5), STS-001"
