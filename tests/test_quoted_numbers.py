"""The numbers that the documentation quotes are those of the committed results.

A number is followed by a comment that Markdown does not show and that names its cell in a page of `docs/results/`:

    0.737<!-- sts_ibsi/segmentation clean diffufusemed_small: dice -->

That is the page, the heading of the table, words that are cells of one row and of no other, and after the colon the
column. `, change`, `, low`, `, high` or a word of the cell choose a number behind its first one: the change in
parentheses, an end of the interval, `random 0.263`. ` - ` and a second choice of row and column subtract. Before the
page, `points` multiplies by 100 and `lost` turns the sign.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from diffufuse.metrics.overlap import COUNTED
from diffufuse.report.tables.fusion import NO_TRAINING

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "results"
QUOTING = ("README.md", "docs/method.md", "docs/results.md")
# Numbers that follow from no study: versions, sizes of data, and what the paper reports.
FROM_ELSEWHERE = {
    "README.md": ("Python 3.11, 3.12 or 3.13", "9.9 GB", "Apache-2.0"),
    "docs/method.md": (
        "torch 2.13",
        "the paper reports 0.83",
        "arXiv 2409.10328",
        "arXiv 2211.14461",
        "arXiv 2404.09498",
        "doi:10.1109/TIP.2022.3193288",
        "arXiv 1910.05577",
        "arXiv 2412.08050",
        "arXiv 2104.07636",
        "arXiv 2506.15218",
        "arXiv 2303.06840",
        "arXiv 2404.17357",
        # settings of the releases
        "clipped at 0.01 a part",
        "gray levels above 0.73",
        "half of the weights 1 and 2.5",
        # sizes of networks, from the tests of each
        "published 3.82 million",
        "10.07 million (published 10.03): 0.02, 3.50 with 0.86 of the frozen discriminator, 4.49, 2.05",
        "20.67 + 3.03 million",
        "20.67 million, the diffusion network",
        "97.80 million",
        # sizes of networks, from tests/unit/test_models.py
        "0.91 million",
        "0.53 million",
        "3.8 million",
    ),
    "docs/results.md": (),
}
NUMBER = r"[+-]?\d+(?:\.\d+)?"
MARK = re.compile(rf"({NUMBER})<!--\s+([^>]*?)\s+-->")
MARK_LIKE = re.compile(r"<!--[^>]*/[^>]*:[^>]*-->")
UNPROVEN = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])|(?<![\w.])\d+(?:\.\d+)?(?= ?%| points?\b)")
IDENTITY = ["dataset", "condition", "model", "region"]


@dataclass(frozen=True)
class Quote:
    """A number in the documentation and the cells that it is taken from."""

    file: str
    line: int
    number: Decimal
    reference: str

    def __str__(self):
        return f"{self.file}:{self.line}"


def quotes_of(file, text):
    """All marked numbers of a page, in order."""
    return [
        Quote(file, text[: match.start()].count("\n") + 1, Decimal(match[1]), " ".join(match[2].split()))
        for match in MARK.finditer(text)
    ]


@cache
def tables_of(page):
    """The tables of a page by heading: their rows, column to cell."""
    tables, name, columns = {}, "", []
    for line in (PAGES / f"{page}.md").read_text().splitlines():
        if line.startswith("## "):
            name, columns = re.sub(r" \(.*", "", line[3:]).lower().replace(" ", "_"), []
        elif line.startswith("|") and not line.startswith("|:") and not line.startswith("|-"):
            cells = [cell.strip().strip("*") for cell in line.strip("|").split("|")]
            tables.setdefault(name, [])
            if columns:
                tables[name].append(dict(zip(columns, cells, strict=True)))
            columns = columns or cells
    return tables


def cell_of(page, table, choice):
    """The number that `words: column, part` names."""
    words, _, column = choice.partition(": ")
    column, _, part = column.partition(", ")
    rows = [row for row in tables_of(page)[table] if set(words.split()) <= set(row.values())]
    assert len(rows) == 1, f"{page}/{table}: expected one row with {words}, got {len(rows)}"
    assert column in rows[0], f"{page}/{table}: expected a column {column!r}, known are {', '.join(rows[0])}"
    form = {
        "": rf"^({NUMBER})",
        "change": rf"\(({NUMBER})\)",
        "low": rf"\[({NUMBER}), ",
        "high": rf"\[{NUMBER}, ({NUMBER})\]",
    }.get(part, rf"\b{part} ({NUMBER})")
    number = re.search(form, rows[0][column])
    assert number, f"{page}/{table}: expected {part or 'a number'} in {rows[0][column]!r}"
    return Decimal(number[1])


def committed(reference):
    """The value that a mark names, with its factor."""
    form = re.fullmatch(r"((?:points |lost )*)(\w+)/(\w+) (.+)", reference)
    assert form, f"expected [points] [lost] PAGE/TABLE WORDS: COLUMN, got {reference!r}"
    factors, page, table, choices = form.groups()
    first, *others = (cell_of(page, table, choice) for choice in choices.split(" - "))
    value = first - sum(others)
    return value * (100 if "points" in factors else 1) * (-1 if "lost" in factors else 1)


def is_rounded(number, value):
    """Whether a number is a value rounded to the number's own digits; a half may go either way."""
    return abs(number - value) <= Decimal(5).scaleb(number.as_tuple().exponent - 1)


def unproven(text, elsewhere):
    """Lines of decimals, percentages and points in prose that no mark stands behind."""
    blank = MARK.sub(lambda match: "\n" * match[0].count("\n"), text)
    for passage in (r"```.*?```", r"<!--.*?-->", r"`[^`\n]*`", r"\]\([^)]*\)", *map(re.escape, elsewhere)):
        blank = re.sub(passage, lambda match: "\n" * match[0].count("\n"), blank, flags=re.DOTALL)
    return [f"{blank[: match.start()].count(chr(10)) + 1}: {match[0]}" for match in UNPROVEN.finditer(blank)]


def means(values):
    """Means over patients of a table of one value per case; a patient without a value under one run has none."""
    own = values[values["dataset"] == values["trained_on"]]
    people = own.groupby([*IDENTITY, "metric", "patient"], sort=False)["value"]
    one_each = people.mean().where(people.count() == people.size()).reset_index()
    found = one_each.groupby([*IDENTITY, "metric"], sort=False)["value"]
    return found.mean(), found.size()


def differences(values, table):
    """Cells of a segmentation table that are not the means of a table of values."""
    mean, patients = means(values)
    wrong = []
    for row in table:
        key = tuple(row[name] for name in IDENTITY)
        for column, cell in row.items():
            metric, told = column.partition(" (")[0], re.match(NUMBER, cell)
            if metric in COUNTED or not told or (*key, metric) not in mean:
                continue
            value = mean[(*key, metric)]
            within = 0.5 * 10.0 ** Decimal(told[0]).as_tuple().exponent + 1e-5 * abs(value)
            if math.isnan(value) or abs(float(told[0]) - value) > within:
                wrong.append(f"{' '.join(key)}: {column} {told[0]}, the values have {value:.4f}")
            if int(row["patients"]) != patients[(*key, metric)]:
                wrong.append(f"{' '.join(key)}: {row['patients']} patients, {patients[(*key, metric)]} in the values")
    return wrong


def of_images(table):
    """The rows of a table of fused images as those of a segmentation table: models on the dataset they learned from.

    Those that learned from nothing are the same on every dataset.
    """
    own = [row for row in table if row["n"] and row["trained on"] in (row["dataset"], NO_TRAINING)]
    return [row | {"condition": "clean", "region": "image", "patients": row["n"]} for row in own]


TEXTS = {file: (ROOT / file).read_text() for file in QUOTING}
QUOTES = [quote for file, text in TEXTS.items() for quote in quotes_of(file, text)]
STUDIES = sorted(path.stem for path in PAGES.glob("*.csv"))


@pytest.mark.parametrize("quote", QUOTES, ids=str)
def test_a_quoted_number_is_the_committed_one(quote):
    value = committed(quote.reference)
    assert is_rounded(quote.number, value), f"{quote}: quoted {quote.number}, committed {value} ({quote.reference})"


@pytest.mark.parametrize("file", QUOTING)
def test_every_mark_stands_right_behind_a_number(file):
    assert len(MARK_LIKE.findall(TEXTS[file])) == len(quotes_of(file, TEXTS[file]))


@pytest.mark.parametrize("file", QUOTING)
def test_no_result_stands_without_its_mark(file):
    lines = unproven(TEXTS[file], FROM_ELSEWHERE[file])
    assert not lines, f"{file}: expected a mark behind every result, found none behind line {', line '.join(lines)}"


@pytest.mark.parametrize("file", QUOTING)
def test_the_numbers_from_elsewhere_are_still_there(file):
    assert all(passage in TEXTS[file] for passage in FROM_ELSEWHERE[file])


def test_a_result_without_its_mark_is_found():
    text = "Dice 0.7<!-- a/b c: d -->, `0.1`,\nbut 0.82 here, 5 % or 7 points there, torch 2.13, 27 patients."
    assert unproven(text, ["torch 2.13"]) == ["2: 0.82", "2: 5", "2: 7"]


@pytest.mark.skipif(not STUDIES, reason="No values of single patients are committed.")
@pytest.mark.parametrize("study", STUDIES or ["none"])
def test_a_page_has_the_means_of_the_committed_patients(study):
    values = pd.read_csv(PAGES / f"{study}.csv", dtype={"patient": str})
    tables = tables_of(study)
    rows = tables.get("segmentation", []) + of_images(tables.get("fusion", []))
    assert rows
    assert not differences(values, rows)


def test_a_mean_that_is_not_that_of_the_patients_is_found():
    keys = {"dataset": "d", "trained_on": "d", "model": "m", "condition": "clean", "region": "r", "metric": "hd95"}
    people = [("one", 1.0), ("one", 3.0), ("two", 4.0), ("three", math.nan)]
    values = pd.DataFrame([keys | {"patient": patient, "value": value} for patient, value in people])
    row = {"dataset": "d", "condition": "clean", "model": "m", "region": "r", "patients": "3"}
    assert not differences(values, [row | {"hd95 (mm)": "3.0 [1.0, 4.0] (n=2)", "missed": "1"}])
    assert differences(values, [row | {"hd95 (mm)": "3.1 [1.0, 4.0]"}]) == [
        "d clean m r: hd95 (mm) 3.1, the values have 3.0000"
    ]
    assert differences(values, [row | {"patients": "2", "hd95 (mm)": "3.0"}]) == [
        "d clean m r: 2 patients, 3 in the values"
    ]
