"""From one value per case to what is reported: statistics over patients, a record, and tables to be read."""

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from diffufuse import tables
from diffufuse.files import atomic_path
from diffufuse.metrics import COUNTED
from diffufuse.seeds import seed_of
from diffufuse.statistics import bootstrap_interval

SYSTEM = ["dataset", "condition", "trained_on", "model", "region"]
QUANTITY = [*SYSTEM, "metric", "unit"]
VALUE = [name for name in tables.METRICS.names if name not in ("value", "unit")]
PERFORMANCE = ("dice", "iou", "hd95", "precision", "recall")
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 13px/1.5 system-ui, sans-serif; color: #222; margin: 1.5em; overflow-x: auto; }}
table {{ border-collapse: collapse; white-space: nowrap; }}
th, td {{ padding: .35em .8em .35em 0; text-align: left; border-bottom: 1px solid #ddd; }}
th {{ border-bottom: 2px solid #222; }}
</style></head>
<body><h1>{title}</h1>
{table}
</body></html>
"""
DECIMALS = {"1": (3, 2), "mm": (1, 1), "mL": (1, 1)}


def per_patient(metrics: pd.DataFrame, patients: Mapping[str, str]) -> pd.DataFrame:
    """One value per patient: the mean over the examinations of a person and over the seeds and folds of a model.

    Patients are independent, their examinations and the runs of one model are not; so these are averaged first.

    Args:
        metrics: a frame in the schema `tables.METRICS`.
        patients: case → patient, from the cohort.

    Returns:
        Columns dataset, condition, trained_on, model, region, metric, unit, patient, value, in order of first
        appearance. The value is NaN if it is undefined for any examination or run of the patient.

    Raises:
        ValueError: a case belongs to no patient, or a value stands twice.
    """
    strangers = sorted(set(metrics["case"]) - set(patients))
    if strangers:
        raise ValueError(f"patients: expected every case of the metrics, got none for {', '.join(strangers)}")
    twice = metrics[metrics.duplicated(VALUE)]
    if len(twice):
        raise ValueError(f"metrics: expected each value once, got twice {twice.iloc[0][VALUE].to_dict()}")
    owned = metrics.assign(patient=metrics["case"].map(dict(patients)))
    values = owned.groupby([*QUANTITY, "patient"], sort=False, observed=True)["value"]
    return values.agg(lambda value: value.mean(skipna=False)).reset_index()


def patient_statistics(metrics: pd.DataFrame, patients: Mapping[str, str], *, study_seed: int) -> pd.DataFrame:
    """Statistics over patients of every metric, region, model and condition.

    Args:
        metrics: a frame in the schema `tables.METRICS`.
        patients: case → patient, from the cohort.
        study_seed: the study's one seed, for the bootstrap.

    Returns:
        One row per dataset, condition, model, region and metric. `patients` counts all, `undefined` those of them
        without a value, who are left out of the statistics; the interval is that of `bootstrap_interval` at 95 %.

    Raises:
        ValueError: a case belongs to no patient, or a value stands twice.
    """
    rows = [
        dict(zip(QUANTITY, key, strict=True))
        | _statistics(group["value"], seed_of(study_seed, "bootstrap", *map(str, key)))
        for key, group in per_patient(metrics, patients).groupby(QUANTITY, sort=False, observed=True)
    ]
    return pd.DataFrame(rows)


def summarize(
    metrics: pd.DataFrame, patients: Mapping[str, str], *, excluded: Mapping[str, int], study_seed: int
) -> pd.DataFrame:
    """What a study reports: statistics over patients, and beside them the cases that its cohorts exclude.

    Args:
        metrics: a frame in the schema `tables.METRICS`.
        patients: case → patient, from the cohort.
        excluded: dataset → number of cases that its cohort sheet excludes.
        study_seed: the study's one seed, for the bootstrap.

    Returns:
        A frame in the schema `tables.SUMMARY`, as `patient_statistics` computes it.

    Raises:
        ValueError: a case belongs to no patient, or a value stands twice.
    """
    statistics = patient_statistics(metrics, patients, study_seed=study_seed)
    return statistics.assign(excluded=statistics["dataset"].map(dict(excluded)))[tables.SUMMARY.names]


def summary_record(summary: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The summary as a record: `dataset/condition/trained_on/model/region/metric` → its statistics.

    Args:
        summary: a frame in the schema `tables.SUMMARY`.

    Returns:
        Plain numbers and text; an undefined statistic is None.
    """
    path = ["dataset", "condition", "trained_on", "model", "region", "metric"]
    return {
        "/".join(row[name] for name in path): {
            str(name): tables.none_if_nan(value) if isinstance(value, float) else value
            for name, value in row.items()
            if name not in path
        }
        for row in summary.to_dict("records")
    }


def format_table(summary: pd.DataFrame, metrics: Sequence[str] = PERFORMANCE) -> pd.DataFrame:
    """A table to be read: one row per model and condition, one column per metric.

    Args:
        summary: a frame in the schema `tables.SUMMARY`.
        metrics: names of metrics, in the order of the columns.

    Returns:
        Text. A cell is `mean [interval]`, with `n=` where undefined values were left out, or `undefined`. The column
        excluded tells the cases that the cohort sheet keeps out; missed, spurious and both_empty the number of such
        patients, averaged over the runs of a model.

    Raises:
        ValueError: a metric, or one that is counted always, is not in the summary.
    """
    absent = [name for name in (*metrics, *COUNTED) if name not in set(summary["metric"])]
    if absent:
        raise ValueError(f"metrics: expected metrics of the summary, got {', '.join(absent)}")
    headings = {name: _heading(name, summary) for name in metrics}
    rows = []
    for key, group in summary.groupby(SYSTEM, sort=False, observed=True):
        found = {row["metric"]: row for row in group.to_dict("records")}
        cells = {headings[name]: _cell(found.get(name)) for name in metrics}
        counts = {name: _count(found.get(name)) for name in COUNTED}
        people = {name: str(max(row[name] for row in found.values())) for name in ("patients", "excluded")}
        rows.append(dict(zip(SYSTEM, key, strict=True)) | people | cells | counts)
    return pd.DataFrame(rows).fillna("")


def write_csv(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as comma-separated text, whole or not at all; undefined is an empty cell."""
    with atomic_path(path) as partial:
        frame.to_csv(partial, index=False, lineterminator="\n")


def write_markdown(frame: pd.DataFrame, path: str | os.PathLike[str], *, note: str = "") -> None:
    """Write a table as Markdown, whole or not at all.

    Args:
        frame: text as it should stand.
        path: ends in `.md`.
        note: a paragraph below the table: license, meaning of the intervals.
    """
    table = frame.to_markdown(index=False, disable_numparse=True)
    with atomic_path(path) as partial:
        partial.write_text(f"{table}\n" + (f"\n{note}\n" if note else ""))


def write_html(frame: pd.DataFrame, path: str | os.PathLike[str], *, title: str) -> None:
    """Write a table as a page that stands alone, whole or not at all.

    Args:
        frame: text as it should stand.
        path: ends in `.html`.
        title: the page's title and heading.
    """
    rows = frame.rename(columns=lambda name: name.replace("_", " ")).to_html(index=False, border=0)
    with atomic_path(path) as partial:
        partial.write_text(PAGE.format(title=title, table=rows))


def _statistics(values: pd.Series, seed: int) -> dict[str, float]:
    defined = values.dropna()
    low, high = bootstrap_interval(defined.to_numpy(), seed=seed)
    return {
        "patients": len(values),
        "undefined": len(values) - len(defined),
        "mean": float(defined.mean()),
        "mean_low": low,
        "mean_high": high,
        "median": float(defined.median()),
        "minimum": float(defined.min()),
        "maximum": float(defined.max()),
    }


def _heading(name: str, summary: pd.DataFrame) -> str:
    unit = summary.loc[summary["metric"] == name, "unit"].iloc[0]
    return name if unit == "1" else f"{name} ({unit})"


def _cell(row: Mapping[Hashable, Any] | None) -> str:
    if row is None:
        return ""
    if pd.isna(row["mean"]):
        return "undefined"
    point, ends = DECIMALS.get(row["unit"], (3, 3))
    text = f"{row['mean']:.{point}f}"
    if not pd.isna(row["mean_low"]):
        text += f" [{row['mean_low']:.{ends}f}, {row['mean_high']:.{ends}f}]"
    return f"{text} (n={row['patients'] - row['undefined']})" if row["undefined"] else text


def _count(row: Mapping[Hashable, Any] | None) -> str:
    return "" if row is None else f"{row['mean'] * row['patients']:.3g}"


TABLES = {"segmentation": format_table}
