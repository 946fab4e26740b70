"""What the paper reports, beside what this study found; never under a heading of ours."""

import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pandas as pd

from diffufuse.report.evidence import CLEAN, Evidence
from diffufuse.report.selection import stem

COLUMNS = ["table", "number", "row", "column", "value", "unit", "cohort", "remark"]
ANY, ALL, METHOD = "-", "all", "diffufusemed"
OWN, ELSEWHERE = "reported", "reported, not reproduced here"
KEYS = ("tested on", "model", "condition")


class Cohort(NamedTuple):
    """A cohort of the paper for which a dataset stands.

    Attributes:
        name: as `config/reported.tsv` has it.
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
TESTED_ON = {"msd_brats": "brats", "lits_original": "lits"}


def read_reported(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The values of `config/reported.tsv`, as they are printed in the paper, in text.

    Raises:
        ValueError: the file has other columns, or a value twice.
    """
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if list(frame.columns) != COLUMNS:
        raise ValueError(f"{path}: expected the columns {COLUMNS}, got {list(frame.columns)}")
    twice = frame[frame.duplicated(["table", "row", "column", "cohort"])]
    if len(twice):
        raise ValueError(f"{path}: expected each value once, got twice {twice.iloc[0].to_dict()}")
    return frame


def beside(table: pd.DataFrame, name: str, *, reported: pd.DataFrame, evidence: Evidence) -> tuple[pd.DataFrame, str]:
    """A table with the paper's values in a last column of their own, and what has to be said of them.

    A row has those of its model without the size, of its condition or of the dataset that it is tested on, whichever
    the table is about; of the paper's cohort for which its dataset stands, in the lesion, under `clean` where the table
    is about models.

    Args:
        table: as built from the evidence; its columns stay as they are.
        name: key of `TABLES`.
        reported: as `read_reported` has it.
        evidence: what the study found; its datasets' lesions are read.

    Returns:
        The table, unchanged where the paper has nothing; and sentences for the reader, empty then.
    """
    about = reported[reported["table"] == name]
    found = [_reported(row, about, evidence) for row in table.to_dict("records")]
    shown = pd.concat([about.iloc[:0], *found])
    if shown.empty:
        return table, ""
    named = {
        COHORTS[row["dataset"] if "dataset" in row else row["trained on"]].own
        for row, values in zip(table.to_dict("records"), found, strict=True)
        if len(values)
    }
    heading = OWN if named == {True} else ELSEWHERE
    return table.assign(**{heading: [_told(values) for values in found]}), _note(shown, heading)


def _reported(row: Mapping[Any, Any], about: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """The paper's values for one row of a table."""
    dataset = row.get("dataset", row.get("trained on"))
    key = next((key for key in KEYS if key in row), None)
    if dataset not in COHORTS or key is None or not _fits(row, key, evidence.datasets.get(dataset, {})):
        return about.iloc[:0]
    names = {"tested on": TESTED_ON.get(row[key], row[key]), "model": stem(row[key]), "condition": row[key]}
    found = about[(about["row"] == names[key]) & about["cohort"].isin([COHORTS[dataset].name, ANY])]
    if "metric" in row:
        metric = row["metric"].split(" ")[0]
        found = found[found["column"].str.split(" ").str[0] == metric]
        found = found.assign(column=found["column"].str.removeprefix(f"{metric} "))
    return found


def _fits(row: Mapping[Any, Any], key: str, block: Mapping[str, Any]) -> bool:
    """Whether the row is of the lesion, of the first scope and, in a table about models, of `clean`."""
    clean = key == "condition" or row.get("condition", CLEAN) == CLEAN
    if key == "tested on" and stem(row["model"]) not in (METHOD, ALL):
        return False
    return clean and row.get("region", block.get("lesion")) == block.get("lesion") and row.get("voxels") != "body"


def _told(values: pd.DataFrame) -> str:
    return ", ".join(f"{row['column']} {_in_our_unit(row['value'], row['unit'])}" for row in values.to_dict("records"))


def _in_our_unit(value: str, unit: str) -> str:
    """Percent as a share, digit by digit; every other unit beside the number as it is printed."""
    if unit == "%":
        return str(Decimal(value).scaleb(-2))
    return value if unit in ("1", "nat") else f"{value} {unit}"


def _note(shown: pd.DataFrame, heading: str) -> str:
    numbers = _joined(shown["number"])
    cohorts = _joined(name for name in shown["cohort"] if name != ANY)
    told = f"The column '{heading}' has what Table {numbers} of the paper prints"
    told += f" for its cohort {cohorts}" if cohorts else ""
    told += "; percent stand as shares." if (shown["unit"] == "%").any() else "."
    remarks = [text for text in dict.fromkeys(shown["remark"]) if text]
    return " ".join([told, *remarks])


def _joined(names: Sequence[str] | Any) -> str:
    return ", ".join(dict.fromkeys(names))
