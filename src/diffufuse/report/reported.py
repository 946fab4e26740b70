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
UNITS = ("%", "points", "mm", "nat", "1", "s", "ms", "MB", "GB", "GFLOPs", "bit", "level", "dB")
ANY, ALL, METHOD = "-", "all", "diffufusemed"
OWN, ELSEWHERE = "reported", "reported, not reproduced here"
KEYS = ("tested on", "variant", "model", "condition")
IMPOSSIBLE = "impossible:"
CONVEX = (
    "Marked as impossible is an IoU below D / (2 - D) of its Dice D, beyond rounding: that function is convex, so the "
    "mean IoU of any cases is at least its value for their mean Dice."
)
PAPER, FUSE4SEG = "the paper", "Fuse4Seg, arXiv:2409.10328"
OF_FUSE4SEG = ("fusion", "fusion_segmentation", "fusion_ablation")


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
# Of Fuse4Seg, which prints BraTS 2021 and an unpublished choice of the atlas' pairs.
FUSED_COHORTS = {
    "brats": Cohort("brats", own=False),
    "sts_ibsi": Cohort("brats", own=False),
    "harvard_spect_mri": Cohort("harvard_spect", own=False),
    "harvard_pet_mri": Cohort("harvard_pet", own=False),
}
PRINTED_COHORTS = (*dict.fromkeys(cohort.name for cohort in (COHORTS | FUSED_COHORTS).values()), ANY)
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


def titled(title: str, name: str, reported: pd.DataFrame) -> str:
    """A table's heading with its number in the paper, if that prints it."""
    numbers = _joined(reported.loc[reported["table"] == name, "number"])
    return f"{title} (Table {numbers} of {_paper(name)})" if numbers else title


def _paper(name: str) -> str:
    return FUSE4SEG if name in OF_FUSE4SEG else PAPER


def beside(table: pd.DataFrame, name: str, *, reported: pd.DataFrame, evidence: Evidence) -> tuple[pd.DataFrame, str]:
    """A table with the paper's values in an additional last column, and notes on them.

    A row is matched by its model without the size, its variant, its condition, or its test dataset, whichever the table
    is about; and by the paper's cohort that corresponds to its dataset, for the lesion, under `clean` in a table about
    models. Of Fuse4Seg, whose rows are mostly methods of others, rows without one of ours follow at the end.

    Args:
        table: as built from the evidence; its columns are not changed.
        name: key of `TABLES`.
        reported: from `read_reported`.
        evidence: results of the study; the lesions of its datasets are read.

    Returns:
        The table, unchanged if the paper has no values; and notes for the reader, then empty.
    """
    of_table, cohorts = reported[reported["table"] == name], FUSED_COHORTS if name in OF_FUSE4SEG else COHORTS
    rows = table.to_dict("records")
    values_of_rows = [_reported(row, of_table, evidence, cohorts) for row in rows]
    if name in OF_FUSE4SEG:
        for row, values in _others(rows, of_table.drop([index for part in values_of_rows for index in part.index])):
            rows.append(row)
            values_of_rows.append(values)
    reported_values = pd.concat([of_table.iloc[:0], *values_of_rows])
    if reported_values.empty:
        return table, ""
    is_own = {
        cohorts[row["dataset"] if "dataset" in row else row["trained on"]].own
        for row, values in zip(rows, values_of_rows, strict=True)
        if len(values)
    }
    heading = OWN if is_own == {True} else ELSEWHERE
    cells = [_cell_text(values) for values in values_of_rows]
    both = pd.DataFrame(rows, columns=table.columns).fillna("").assign(**{heading: cells})
    return both, _note(reported_values, heading, paper=_paper(name))


def _others(rows: list[dict[Any, Any]], values: pd.DataFrame) -> list[tuple[dict[Any, Any], pd.DataFrame]]:
    """The rows of the paper that no row of ours has, for the cohorts of the table's datasets."""
    key = next((key for key in KEYS if rows and key in rows[0]), None)
    datasets = dict.fromkeys(row["dataset"] for row in rows if row.get("dataset") in FUSED_COHORTS)
    return [
        ({"dataset": dataset, key: f"{printed} (paper)"}, part)
        for dataset in datasets
        for printed, part in values[values["cohort"] == FUSED_COHORTS[dataset].name].groupby("row", sort=False)
        if key
    ]


def _reported(
    row: Mapping[Any, Any], about: pd.DataFrame, evidence: Evidence, cohorts: Mapping[str, Cohort]
) -> pd.DataFrame:
    """The paper's values for one row of a table."""
    dataset = row.get("dataset", row.get("trained on"))
    key = next((key for key in KEYS if key in row), None)
    if dataset not in cohorts or key is None or not _fits(row, key, evidence.datasets.get(dataset, {})):
        return about.iloc[:0]
    names = {"tested on": TESTED_ON.get(row[key], row[key]), "model": stem(row[key])}
    values = about[(about["row"] == names.get(key, row[key])) & about["cohort"].isin([cohorts[dataset].name, ANY])]
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
    bounds = least_iou(values)
    return ", ".join(
        f"{row['column']} {_in_our_unit(row['value'], row['unit'])}"
        + (f" ({IMPOSSIBLE} below {bounds[row['column']]:.3f})" if row["column"] in bounds else "")
        for row in values.to_dict("records")
    )


def least_iou(values: pd.DataFrame) -> dict[str, float]:
    """The least possible mean IoU of those columns whose printed value is below it, beyond rounding.

    IoU is D / (2 - D) of a Dice D, which is convex: the mean IoU of any patients is at least that of their mean Dice.

    Args:
        values: of one row of the paper, with columns that end in `dice` and `iou`, as shares.
    """
    shares = {
        row["column"]: (float(row["value"]), 0.5 * 10.0 ** -len(row["value"].partition(".")[2]))
        for row in values.to_dict("records")
        if row["unit"] == "1" and row["column"].split(" ")[-1] in ("dice", "iou")
    }
    bounds = {}
    for column, (iou, rounding) in shares.items():
        dice, half = shares.get(f"{column.removesuffix('iou')}dice", (0.0, 0.0))
        low = dice - half
        if column.endswith("iou") and iou + rounding < low / (2 - low):
            bounds[column] = dice / (2 - dice)
    return bounds


def _in_our_unit(value: str, unit: str) -> str:
    """Percent as a fraction with the same digits; any other unit after the number as printed."""
    if unit == "%":
        return str(Decimal(value).scaleb(-2))
    return value if unit in ("1", "nat") else f"{value} {unit}"


def _note(values: pd.DataFrame, heading: str, *, paper: str) -> str:
    numbers = _joined(values["number"])
    cohorts = _joined(name for name in values["cohort"] if name != ANY)
    description = f"The column '{heading}' has what Table {numbers} of {paper} prints"
    description += f" for its cohort {cohorts}" if cohorts else ""
    description += "; percent stand as shares." if (values["unit"] == "%").any() else "."
    remarks = [text for text in dict.fromkeys(values["remark"]) if text]
    if any(least_iou(part) for _, part in values.groupby(["table", "row", "cohort"])):
        remarks.append(CONVEX)
    return " ".join([description, *remarks])


def _joined(names: Sequence[str] | Any) -> str:
    return ", ".join(dict.fromkeys(names))
