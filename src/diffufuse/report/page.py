"""The results page of a study: provenance, tables, and significant differences."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import pandas as pd

from diffufuse.metrics.registry import IMAGE
from diffufuse.report import cells
from diffufuse.report.evidence import Evidence, Table
from diffufuse.report.lost import lost_note
from diffufuse.report.nouns import PAIRS, noun_of
from diffufuse.report.published import among_others
from diffufuse.report.reported import titled
from diffufuse.report.tables.calibration import validation_patients
from diffufuse.report.tables.comparison import FAMILY, compare
from diffufuse.report.writing import markdown

LEVEL = 0.05
COMMIT_DIGITS = 10


def results_page(
    evidence: Evidence, tables: Mapping[str, Table], *, study: str, reported: pd.DataFrame, published: pd.DataFrame
) -> str:
    """The page as Markdown.

    Args:
        evidence: results of the study.
        tables: tables of the page by name, in order.
        study: name of the study.
        reported: values of the paper, from `read_reported`.
        published: scores of published images, from `read_published`.
    """
    parts = [f"# Results of the study {study}", introduction(evidence, study), provenance(evidence)]
    for name, table in tables.items():
        built, notes = among_others(table.build(evidence), name, evidence, reported=reported, published=published)
        parts += [_title(name, reported), _unpadded(markdown(built)), table.reading, lost_note(evidence), *notes]
    parts += significant_differences(evidence) if "comparison" in tables else []
    return "\n\n".join(part for part in parts if part) + "\n"


def introduction(evidence: Evidence, study: str) -> str:
    """Introductory paragraph."""
    metrics, noun = evidence.metrics, noun_of(evidence)
    regions = dict.fromkeys(metrics.loc[metrics["region"] != IMAGE, "region"])
    tasks = [f"segmentation of {_listed(regions)}"] if regions else []
    tasks += ["fusion of images"] if (metrics["region"] == IMAGE).any() else []
    seen = "it" if noun == PAIRS else "them"
    return (
        f"{_sentence_case(' and '.join(tasks) or 'nothing measured')} in {_listed(metrics['dataset'])}: "
        f"{_counted(metrics['model'], 'model')} under {_counted(metrics['condition'], 'condition')}. "
        f"Every {_one(evidence)} is tested by models that never saw {seen}, and counts once. {_dependent(evidence)}"
        "Written by "
        f"`make results STUDY={study}` from one table of metrics; no number is typed, but those "
        "of the paper in the columns `reported`."
    )


def provenance(evidence: Evidence) -> str:
    """Patients, folds, seeds, code and machines, as a list."""
    metrics, runs = evidence.metrics, evidence.runs
    by_patient = metrics.assign(patient=metrics["case"].map(dict(evidence.patients)))
    excluded = dict(zip(evidence.summary["dataset"], evidence.summary["excluded"], strict=True))
    cohorts = [
        f"{name}: {_counted(group['patient'], _one(evidence, [str(name)]))}, {_plural(excluded[name], 'case')} excluded"
        for name, group in by_patient.groupby("dataset", sort=False)
    ]
    machines = {
        f"{row['device']}, {_plural(row['threads'], 'thread')}, {row['precision']}" for row in runs.to_dict("records")
    }
    return "\n".join(
        [
            f"- {_sentence_case(noun_of(evidence))}: {'; '.join(cohorts) or 'none'}.",
            f"- Folds {_listed(metrics['fold'])}; seeds {_listed(metrics['seed'])}; study seed {evidence.study_seed}.",
            f"- Calibrated on {_calibrated(evidence.calibrations)}.",
            f"- Code: commit {_listed(map(_short, runs['commit']))}; torch {_listed(runs['torch'])}.",
            f"- Trained {_days(runs['started_unix_s'])} on {'; '.join(sorted(machines)) or 'an unknown machine'}.",
        ]
    )


def significant_differences(evidence: Evidence) -> list[str]:
    """Models that differ significantly from `compare_with`, and those that do not, per metric and condition.

    Returns:
        Paragraphs of a Markdown section; empty if there is one model.
    """
    comparisons = compare(evidence)
    if comparisons.empty:
        return []
    name_columns = ["metric", "condition", *(name for name in ("dataset", "region") if comparisons[name].nunique() > 1)]
    verdicts: dict[str, list[str]] = {}
    for _, group in comparisons.groupby(FAMILY, sort=False):
        verdicts.setdefault(_verdict(group), []).append(", ".join(group.iloc[0][name_columns]))
    lines = [f"- {'; '.join(families)}: {verdict}." for verdict, families in verdicts.items()]
    explanation = (
        f"Against {evidence.compare_with}, by the Holm-adjusted p at {LEVEL}. That a difference is not shown does not "
        "mean that there is none: the intervals above tell how large it may be."
    )
    return ["## What is shown, and what is not", explanation, "\n".join(lines)]


def _title(name: str, reported: pd.DataFrame) -> str:
    """Heading of a table, with its number in the paper."""
    return f"## {titled(name.replace('_', ' ').capitalize(), name, reported)}"


def _calibrated(calibrations: pd.DataFrame) -> str:
    """Number of patients on which temperatures and thresholds were fitted."""
    if calibrations.empty:
        return "no patients"
    return f"{validation_patients(calibrations)} validation patients a fold, none of them tested in it"


def _unpadded(table: str) -> str:
    """A Markdown table without alignment padding, which halves the page."""
    return re.sub("-{3,}", "---", re.sub(" {2,}", " ", table))


def _verdict(family: pd.DataFrame) -> str:
    significant = family[family["p_holm"] < LEVEL]
    untested = family[family["p_holm"].isna()]
    not_significant = family.drop([*significant.index, *untested.index])
    if significant.empty and len(family) > 1:
        return f"none of {len(family)} is shown to differ"
    signed = [
        f"{row['model']} ({cells.difference(row['difference'], row['unit'])})" for row in significant.to_dict("records")
    ]
    parts = {
        "differ": signed,
        "not shown to differ": list(not_significant["model"]),
        "no test": list(untested["model"]),
    }
    return "; ".join(f"{label}: {', '.join(models)}" for label, models in parts.items() if models)


def _dependent(evidence: Evidence) -> str:
    """What is to be known where pairs count as if each were of another patient."""
    if PAIRS not in noun_of(evidence):
        return ""
    return (
        "Pairs are counted as if each were of another patient; where some are neighboring slices of one, also of one "
        "in the training, intervals are too short, p too small, and scores too good for a new patient. "
    )


def _one(evidence: Evidence, datasets: Iterable[str] | None = None) -> str:
    """What counts once, as one: `patient`, `pair`, or `pair or patient`."""
    return noun_of(evidence, datasets).replace("pairs", "pair").replace("patients", "patient")


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


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
