"""Values of the paper next to the results of this study, always under a heading of their own."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pandas as pd

from diffufuse.errors import BadInput
from diffufuse.files.names import instead
from diffufuse.files.sheets import Row, read_sheet, shown
from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.selection import stem

COLUMNS = ["table", "number", "row", "column", "value", "unit", "cohort", "remark"]
IDENTITY = ("table", "row", "column", "cohort")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
PROBABILITY = re.compile(r"(< )?0\.[0-9]+")
UNITS = ("%", "points", "mm", "nat", "1", "s", "ms", "MB", "GB", "GFLOPs")
ANY, ALL, METHOD = "-", "all", "diffufusemed"
OWN, ELSEWHERE = "reported", "reported, not reproduced here"
KEYS = ("tested on", "model", "condition")


class Cohort(NamedTuple):
    """The cohort of the paper that a dataset corresponds to.

    Attributes:
        name: as in `config/reported.tsv`.
        own: whether the dataset is that cohort itself.
    """

    name: str
    own: bool


COHORTS = {
    "sts": Cohort("sts", own=True),
    "sts_ibsi": Cohort("sts", own=False),
    "phantom": Cohort("sts", own=False),
    "brats": Cohort("brats", own=True),
    "msd_brats": Cohort("brats", own=False),
}
PRINTED_COHORTS = (*dict.fromkeys(cohort.name for cohort in COHORTS.values()), ANY)
TESTED_ON = {"msd_brats": "brats", "lits_original": "lits"}


def read_reported(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The values of `config/reported.tsv`, as printed in the paper.

    Args:
        path: see `files.sheets`.

    Raises:
        BadInput: a column, value or unit is not what it should be, or a value stands twice.
    """
    sheet = read_sheet(path, COLUMNS, what="the values of the paper")
    rows = [_checked(row) for row in sheet.rows]
    twice = [key for key, count in Counter(tuple(row[name] for name in IDENTITY) for row in rows).items() if count > 1]
    if twice:
        raise BadInput(f"{path}: expected each value once, got twice {', '.join(twice[0])}; remove one row.")
    sheet.require_checksum()
    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def _checked(row: Row) -> Mapping[str, str]:
    cells, probability = row.cells, row.cells["column"].endswith(" p")
    empty = [name for name in COLUMNS if not cells[name] and name != "remark"]
    if empty:
        raise BadInput(f"{row.where}: expected text in every column but remark, got none in {', '.join(empty)}.")
    if not (PROBABILITY if probability else NUMBER).fullmatch(cells["value"]):
        raise BadInput(f"{row.where}: expected a number in column value, got {shown(cells['value'])}; correct it.")
    if not re.fullmatch("[0-9]+", cells["number"]):
        raise BadInput(f"{row.where}: expected the number of a table, got {shown(cells['number'])}; correct it.")
    for column, options in (("unit", UNITS), ("cohort", PRINTED_COHORTS)):
        if cells[column] not in options:
            raise BadInput(f"{row.where}: {cells[column]!r} is not known as {column}{instead(cells[column], options)}")
    return cells


def beside(table: pd.DataFrame, name: str, *, reported: pd.DataFrame, evidence: Evidence) -> tuple[pd.DataFrame, str]:
    """A table with the paper's values in an additional last column, and notes on them.

    A row is matched by its model without the size, its condition, or its test dataset, whichever the table is about;
    and by the paper's cohort that corresponds to its dataset, for the lesion, under `clean` in a table about models.

    Args:
        table: as built from the evidence; its columns are not changed.
        name: key of `TABLES`.
        reported: from `read_reported`.
        evidence: results of the study; the lesions of its datasets are read.

    Returns:
        The table, unchanged if the paper has no values; and notes for the reader, then empty.
    """
    of_table = reported[reported["table"] == name]
    values_of_rows = [_reported(row, of_table, evidence) for row in table.to_dict("records")]
    reported_values = pd.concat([of_table.iloc[:0], *values_of_rows])
    if reported_values.empty:
        return table, ""
    is_own = {
        COHORTS[row["dataset"] if "dataset" in row else row["trained on"]].own
        for row, values in zip(table.to_dict("records"), values_of_rows, strict=True)
        if len(values)
    }
    heading = OWN if is_own == {True} else ELSEWHERE
    return table.assign(**{heading: [_cell_text(values) for values in values_of_rows]}), _note(reported_values, heading)


def _reported(row: Mapping[Any, Any], about: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """The paper's values for one row of a table."""
    dataset = row.get("dataset", row.get("trained on"))
    key = next((key for key in KEYS if key in row), None)
    if dataset not in COHORTS or key is None or not _fits(row, key, evidence.datasets.get(dataset, {})):
        return about.iloc[:0]
    names = {"tested on": TESTED_ON.get(row[key], row[key]), "model": stem(row[key]), "condition": row[key]}
    values = about[(about["row"] == names[key]) & about["cohort"].isin([COHORTS[dataset].name, ANY])]
    if "metric" in row:
        metric = row["metric"].split(" ")[0]
        values = values[values["column"].str.split(" ").str[0] == metric]
        values = values.assign(column=values["column"].str.removeprefix(f"{metric} "))
    return values


def _fits(row: Mapping[Any, Any], key: str, block: Mapping[str, Any]) -> bool:
    """Whether the row is about the lesion, the first scope and, in a table about models, `clean`."""
    clean = key == "condition" or row.get("condition", CLEAN) == CLEAN
    if key == "tested on" and stem(row["model"]) not in (METHOD, ALL):
        return False
    return clean and row.get("region", block.get("lesion")) == block.get("lesion") and row.get("voxels") != "body"


def _cell_text(values: pd.DataFrame) -> str:
    return ", ".join(f"{row['column']} {_in_our_unit(row['value'], row['unit'])}" for row in values.to_dict("records"))


def _in_our_unit(value: str, unit: str) -> str:
    """Percent as a fraction with the same digits; any other unit after the number as printed."""
    if unit == "%":
        return str(Decimal(value).scaleb(-2))
    return value if unit in ("1", "nat") else f"{value} {unit}"


def _note(values: pd.DataFrame, heading: str) -> str:
    numbers = _joined(values["number"])
    cohorts = _joined(name for name in values["cohort"] if name != ANY)
    description = f"The column '{heading}' has what Table {numbers} of the paper prints"
    description += f" for its cohort {cohorts}" if cohorts else ""
    description += "; percent stand as shares." if (values["unit"] == "%").any() else "."
    remarks = [text for text in dict.fromkeys(values["remark"]) if text]
    return " ".join([description, *remarks])


def _joined(names: Sequence[str] | Any) -> str:
    return ", ".join(dict.fromkeys(names))
