"""Images that others published, scored here: rows of their own in the table of fused images.

The images stay where they are; `benchmarks/published_images.py` scores them and writes `config/published_images.tsv`.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from diffufuse.errors import BadInput
from diffufuse.files.names import instead
from diffufuse.files.sheets import NONE, Row, read_sheet, shown, write_sheet
from diffufuse.metrics.registry import ALL_METRICS, IMAGE
from diffufuse.report import cells
from diffufuse.report.evidence import Evidence
from diffufuse.report.reported import beside
from diffufuse.report.statistics import bootstrap_interval
from diffufuse.report.tables.fusion import heading
from diffufuse.seeds import seed_of

COLUMNS = ["dataset", "images", "model", "metric", "unit", "n", "mean", "low", "high", "remark"]
IDENTITY = ("dataset", "images", "model", "metric")
STATISTICS = ("mean", "low", "high")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e-[0-9]+)?")
SEED = 1
OF_IMAGES = "fusion"
MARK = "published images, scored here"
NOTE = (
    f"Rows of {MARK} have what their authors released instead of an image made here, scored as ours on the luma of the "
    "files, of 8 bits, and the average and the maximum of the same pairs as controls. Their pairs are not those of the "
    "rows above, at most a few of them, so that a row compares with its controls and with no other."
)


class Release(NamedTuple):
    """A release of fused images, scored on the pairs of one dataset.

    Attributes:
        dataset: whose kind of pairs they are.
        model: who made the images.
        remark: where the pairs are from, how many were matched, what else is to be known; stands in the first row.
    """

    dataset: str
    model: str
    remark: str


def write_published(scores: Iterable[tuple[Release, pd.DataFrame]], path: str | os.PathLike[str]) -> None:
    """Write the means over pairs with their 95 % bootstrap intervals as a sheet with a checksum.

    Args:
        scores: of each release, with the columns model, pair, metric, value.
        path: of the sheet.
    """
    write_sheet(path, COLUMNS, [row for release, values in scores for row in _summarized(release, values)])


def _summarized(release: Release, scores: pd.DataFrame) -> list[list[str]]:
    rows: list[list[str]] = []
    for (model, metric), group in scores.groupby(["model", "metric"], sort=False):
        values = group["value"].dropna().to_numpy(float)
        if values.size:
            names = [release.dataset, release.model, str(model), str(metric)]
            ends = bootstrap_interval(values, seed=seed_of(SEED, "published", *names))
            statistics = [NONE if math.isnan(number) else f"{number:.6g}" for number in (values.mean(), *ends)]
            remark = "" if rows else release.remark
            rows.append([*names, ALL_METRICS[str(metric)].unit, str(values.size), *statistics, remark])
    return rows


def read_published(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The scores of `config/published_images.tsv`.

    Args:
        path: see `files.sheets`; the checksum must be there, as a program wrote all of it.

    Returns:
        Columns of `COLUMNS`; n is an integer, mean, low and high are numbers, the ends NaN for a single pair.

    Raises:
        BadInput: a column, number, metric or unit is not what it should be, a row stands twice, or one was changed.
    """
    sheet = read_sheet(path, COLUMNS, what="scores of published images")
    rows = [_checked(row) for row in sheet.rows]
    twice = [key for key, count in Counter(tuple(row[name] for name in IDENTITY) for row in rows).items() if count > 1]
    if twice:
        raise BadInput(f"{path}: expected each score once, got twice {', '.join(twice[0])}; remove one row.")
    if sheet.checksum is None:
        raise BadInput(f"{path}: expected a checksum in line 1, as a program writes it; write the sheet anew.")
    sheet.require_checksum()
    return pd.DataFrame(rows, columns=COLUMNS)


def _checked(row: Row) -> dict[str, Any]:
    metric = ALL_METRICS.get(row.cells["metric"])
    if metric is None or metric.reads != IMAGE:
        names = [name for name, known in ALL_METRICS.items() if known.reads == IMAGE]
        got = row.cells["metric"]
        raise BadInput(f"{row.where}: {got!r} is no metric of fused images{instead(got, names)}")
    if row.cells["unit"] != metric.unit:
        raise BadInput(f"{row.where}: expected the unit {metric.unit}, got {shown(row.cells['unit'])}; correct it.")
    if not re.fullmatch("[1-9][0-9]*", row.cells["n"]):
        raise BadInput(f"{row.where}: expected a number of pairs, got {shown(row.cells['n'])}; correct it.")
    for name in STATISTICS:
        if not NUMBER.fullmatch(row.cells[name]) and (name == "mean" or row.cells[name] != NONE):
            raise BadInput(
                f"{row.where}: expected a number in column {name}, got {shown(row.cells[name])}; correct it."
            )
    numbers = {name: float(row.cells[name]) if row.cells[name] != NONE else math.nan for name in STATISTICS}
    return {**row.cells, **numbers, "n": int(row.cells["n"])}


def among_others(
    table: pd.DataFrame, name: str, evidence: Evidence, *, reported: pd.DataFrame, published: pd.DataFrame
) -> tuple[pd.DataFrame, list[str]]:
    """A table with what others have: scores of their images as rows, and what papers print as a last column.

    Args:
        table: as built from the evidence.
        name: key of `TABLES`.
        evidence: results of the study.
        reported: values of the paper, from `read_reported`.
        published: scores of published images, from `read_published`.

    Returns:
        The table, and notes for the reader.
    """
    with_images, note = (
        with_published(table, published=published, evidence=evidence) if name == OF_IMAGES else (table, "")
    )
    told, paper_note = beside(with_images, name, reported=reported, evidence=evidence)
    return told, [text for text in (note, paper_note) if text]


def with_published(table: pd.DataFrame, *, published: pd.DataFrame, evidence: Evidence) -> tuple[pd.DataFrame, str]:
    """The table of fused images with rows of published ones at its end, and notes on them.

    Args:
        table: as `tables.fusion` builds it, with what follows from evidence.
        published: from `read_published`.
        evidence: results of the study, whose metrics are shown.

    Returns:
        The table, unchanged if nothing was published of its datasets; and notes for the reader, then empty.
    """
    datasets = list(dict.fromkeys(table["dataset"])) if "dataset" in table else []
    asked = [name for name in evidence.asked if ALL_METRICS[name].reads == IMAGE]
    here = published[published["dataset"].isin(datasets) & published["metric"].isin(asked)]
    if here.empty:
        return table, ""
    here = here.iloc[here["dataset"].map(datasets.index).argsort(kind="stable")]
    rows = [
        _row(dict(zip(("dataset", "images", "model"), map(str, key), strict=True)), group, asked)
        for key, group in here.groupby(["dataset", "images", "model"], sort=False)
    ]
    both = pd.concat([table, pd.DataFrame(rows, columns=table.columns)], ignore_index=True).fillna("")
    told = published[published["dataset"].isin(datasets) & (published["remark"] != "")]
    remarks = dict.fromkeys(zip(told["images"], told["remark"], strict=True))
    return both, " ".join([NOTE, *(f"{images}: {remark}" for images, remark in remarks)])


def _row(names: Mapping[str, str], scores: pd.DataFrame, asked: list[str]) -> dict[str, str]:
    own = names["model"] == names["images"]
    told = f"{names['model']} ({MARK})" if own else f"{names['model']} (the pairs of {names['images']})"
    most = int(scores["n"].max())
    return {"dataset": names["dataset"], "trained on": "", "model": told, "n": str(most)} | {
        heading(row["metric"]): cells.mean(
            {"mean": row["mean"], "mean_low": row["low"], "mean_high": row["high"], "unit": row["unit"]}
            | {"patients": most, "undefined": most - row["n"]}
        )
        for row in scores.to_dict("records")
    }
