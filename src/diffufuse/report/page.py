"""A study's results as one page: where they come from, the tables, and what they do and do not show."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import pandas as pd

from diffufuse.report import cells
from diffufuse.report.evidence import Evidence, Table
from diffufuse.report.reported import beside
from diffufuse.report.tables.calibration import validation_patients
from diffufuse.report.tables.comparison import FAMILY, compare
from diffufuse.report.writing import markdown

LEVEL = 0.05
COMMIT_DIGITS = 10


def results_page(evidence: Evidence, tables: Mapping[str, Table], *, study: str, reported: pd.DataFrame) -> str:
    """The page as Markdown.

    Args:
        evidence: what the study found.
        tables: those of the page by name, in its order.
        study: the study's name.
        reported: what the paper reports, as `read_reported` has it.
    """
    parts = [f"# Results of the study {study}", introduction(evidence, study), provenance(evidence)]
    for name, table in tables.items():
        built, remark = beside(table.build(evidence), name, reported=reported, evidence=evidence)
        parts += [_title(name, reported), _unpadded(markdown(built)), table.reading, remark]
    parts += shown_and_not_shown(evidence) if "comparison" in tables else []
    return "\n\n".join(part for part in parts if part) + "\n"


def introduction(evidence: Evidence, study: str) -> str:
    """What the page is, in a paragraph."""
    metrics = evidence.metrics
    return (
        f"Segmentation of {_listed(metrics['region'])} in {_listed(metrics['dataset'])}: "
        f"{_counted(metrics['model'], 'model')} under {_counted(metrics['condition'], 'condition')}. Every patient is "
        "tested by models that never saw them, and counts once. Written by "
        f"`make results STUDY={study}` from one table of metrics; no number is typed, but those "
        "of the paper in the columns `reported`."
    )


def provenance(evidence: Evidence) -> str:
    """From which patients, code and machines the numbers come."""
    metrics, runs = evidence.metrics, evidence.runs
    people = metrics.assign(patient=metrics["case"].map(dict(evidence.patients)))
    excluded = dict(zip(evidence.summary["dataset"], evidence.summary["excluded"], strict=True))
    cohorts = [
        f"{name}: {_counted(group['patient'], 'patient')}, {_plural(excluded[name], 'case')} excluded"
        for name, group in people.groupby("dataset", sort=False)
    ]
    machines = {
        f"{row['device']}, {_plural(row['threads'], 'thread')}, {row['precision']}" for row in runs.to_dict("records")
    }
    return "\n".join(
        [
            f"- Patients: {'; '.join(cohorts)}.",
            f"- Folds {_listed(metrics['fold'])}; seeds {_listed(metrics['seed'])}; study seed {evidence.study_seed}.",
            f"- Calibrated on {_calibrated(evidence.calibrations)}.",
            f"- Code: commit {_listed(map(_short, runs['commit']))}; torch {_listed(runs['torch'])}.",
            f"- Trained {_days(runs['started_unix_s'])} on {'; '.join(sorted(machines)) or 'an unknown machine'}.",
        ]
    )


def shown_and_not_shown(evidence: Evidence) -> list[str]:
    """For each metric and condition, which models differ from the one compared with and which are not shown to.

    Returns:
        A section as paragraphs in Markdown; none if there is one model.
    """
    found = compare(evidence)
    if found.empty:
        return []
    named = ["metric", "condition", *(name for name in ("dataset", "region") if found[name].nunique() > 1)]
    verdicts: dict[str, list[str]] = {}
    for _, group in found.groupby(FAMILY, sort=False):
        verdicts.setdefault(_verdict(group), []).append(", ".join(group.iloc[0][named]))
    lines = [f"- {'; '.join(families)}: {verdict}." for verdict, families in verdicts.items()]
    told = (
        f"Against {evidence.compare_with}, by the Holm-adjusted p at {LEVEL}. That a difference is not shown does not "
        "mean that there is none: the intervals above tell how large it may be."
    )
    return ["## What is shown, and what is not", told, "\n".join(lines)]


def _title(name: str, reported: pd.DataFrame) -> str:
    """The heading of a table, with the number that the paper has for it."""
    numbers = list(dict.fromkeys(reported.loc[reported["table"] == name, "number"]))
    title = f"## {name.replace('_', ' ').capitalize()}"
    return f"{title} (Table {', '.join(numbers)} of the paper)" if numbers else title


def _calibrated(calibrations: pd.DataFrame) -> str:
    """On how many patients temperatures and thresholds were fitted."""
    if calibrations.empty:
        return "no patients"
    return f"{validation_patients(calibrations)} validation patients a fold, none of them tested in it"


def _unpadded(table: str) -> str:
    """A table in Markdown without the spaces and dashes that align it; a page of many is half as long."""
    return re.sub("-{3,}", "---", re.sub(" {2,}", " ", table))


def _verdict(family: pd.DataFrame) -> str:
    shown = family[family["p_holm"] < LEVEL]
    unknown = family[family["p_holm"].isna()]
    rest = family.drop([*shown.index, *unknown.index])
    if shown.empty and len(family) > 1:
        return f"none of {len(family)} is shown to differ"
    signed = [
        f"{row['model']} ({cells.difference(row['difference'], row['unit'])})" for row in shown.to_dict("records")
    ]
    parts = {"differ": signed, "not shown to differ": list(rest["model"]), "no test": list(unknown["model"])}
    return "; ".join(f"{told}: {', '.join(models)}" for told, models in parts.items() if models)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(map(str, values))) or "unknown"


def _counted(values: pd.Series, noun: str) -> str:
    return _plural(values.nunique(), noun)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _short(commit: str) -> str:
    name, _, state = commit.partition("-")
    return name[:COMMIT_DIGITS] + (f"-{state}" if state else "")


def _days(started_unix_s: Iterable[float]) -> str:
    days = sorted({datetime.fromtimestamp(second, UTC).date().isoformat() for second in started_unix_s})
    return " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "on an unknown day"
