"""Everything that a study's tables are computed from."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from diffufuse.cases import read_patients
from diffufuse.tables import METRICS, RUNS, SUMMARY, read_table

CLEAN = "clean"


@dataclass(frozen=True)
class Evidence:
    """What a study found.

    Attributes:
        metrics: one value per case, in the schema `tables.METRICS`.
        summary: statistics over patients, in the schema `tables.SUMMARY`.
        runs: what was trained and what it cost, in the schema `tables.RUNS`.
        patients: case → patient.
        conditions: name → block of `config/conditions.yaml`, of the study, in its order.
        asked: the study's metrics, in its order.
        compare_with: the model with which all others are compared.
        study_seed: the study's one seed, for the bootstrap.
    """

    metrics: pd.DataFrame
    summary: pd.DataFrame
    runs: pd.DataFrame
    patients: Mapping[str, str]
    conditions: Mapping[str, Mapping[str, Any]]
    asked: Sequence[str]
    compare_with: str
    study_seed: int


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        build: what a study found → the table as text.
        reading: how to read it; stands below the table wherever it is shown.
    """

    build: Callable[[Evidence], pd.DataFrame]
    reading: str


def read_evidence(
    *,
    metrics: str | os.PathLike[str],
    summary: str | os.PathLike[str],
    runs: str | os.PathLike[str],
    cohorts: Sequence[str | os.PathLike[str]],
    **known: Any,
) -> Evidence:
    """What a study found, from its three tables and its cohort sheets.

    Args:
        metrics: Parquet in the schema `tables.METRICS`.
        summary: Parquet in the schema `tables.SUMMARY`.
        runs: Parquet in the schema `tables.RUNS`.
        cohorts: the cohort sheets of the study's datasets.
        known: the other attributes of `Evidence`, from the study's configuration.
    """
    return Evidence(
        read_table(metrics, METRICS),
        read_table(summary, SUMMARY),
        read_table(runs, RUNS),
        patients=read_patients(cohorts),
        **known,
    )
