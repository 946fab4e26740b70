"""The results of a study, from which its tables and figures are computed."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from diffufuse.evaluate.cost_schemas import EFFICIENCY, LATENCIES
from diffufuse.evaluate.schemas import CALIBRATIONS, FORECASTS, METRICS
from diffufuse.files.tables import read_table
from diffufuse.report.schemas import CURVES, RUNS, SUMMARY
from diffufuse.study.cohorts import read_patients

CLEAN = "clean"


@dataclass(frozen=True)
class Evidence:
    """The results of a study. Each frame has the schema of its name.

    Attributes:
        metrics: one value per case. Rows whose `trained_on` is not their `dataset` are transfers to another dataset.
        summary: statistics over patients.
        runs: trainings and their cost.
        forecasts: predicted probabilities by true class under `clean`, summed over all test cases of a model.
        calibrations: temperatures and conformal thresholds from validation patients.
        efficiency: inference cost of trained models.
        latencies: inference time, one row per repeat.
        curves: training curves of the models that are trained.
        patients: case → patient.
        conditions: name → block of `config/conditions.yaml`, of the study, in its order.
        models: name → block of `config/models.yaml`, of the study, in its order.
        datasets: name → block of `config/datasets.yaml`, of the study and of its transfers.
        asked: the study's metrics, in its order.
        compare_with: the model with which all others are compared.
        transfers: external test datasets, in the study's order.
        study_seed: seed of the study, for the bootstrap.
    """

    metrics: pd.DataFrame
    summary: pd.DataFrame
    runs: pd.DataFrame
    forecasts: pd.DataFrame
    calibrations: pd.DataFrame
    efficiency: pd.DataFrame
    latencies: pd.DataFrame
    curves: pd.DataFrame
    patients: Mapping[str, str]
    conditions: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, Mapping[str, Any]]
    datasets: Mapping[str, Mapping[str, Any]]
    asked: Sequence[str]
    compare_with: str
    transfers: Sequence[str]
    study_seed: int

    @property
    def in_domain(self) -> pd.DataFrame:
        """In-domain metrics: models on the dataset that they were trained on."""
        return self.metrics[self.metrics["dataset"] == self.metrics["trained_on"]]

    @property
    def external(self) -> pd.DataFrame:
        """External metrics: models on other datasets."""
        return self.metrics[self.metrics["dataset"] != self.metrics["trained_on"]]


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        build: results of a study → the table as text.
        reading: explanation, printed below the table.
    """

    build: Callable[[Evidence], pd.DataFrame]
    reading: str


def read_evidence(
    *,
    metrics: str | os.PathLike[str],
    summary: str | os.PathLike[str],
    runs: str | os.PathLike[str],
    forecasts: str | os.PathLike[str],
    calibrations: str | os.PathLike[str],
    efficiency: str | os.PathLike[str],
    latencies: str | os.PathLike[str],
    curves: str | os.PathLike[str],
    cohorts: Sequence[str | os.PathLike[str]],
    **settings: Any,
) -> Evidence:
    """Read the results of a study from its Parquet tables and cohort sheets.

    Args:
        metrics: in the schema `METRICS`.
        summary: in the schema `SUMMARY`.
        runs: in the schema `RUNS`.
        forecasts: in the schema `FORECASTS`.
        calibrations: in the schema `CALIBRATIONS`.
        efficiency: in the schema `EFFICIENCY`.
        latencies: in the schema `LATENCIES`.
        curves: in the schema `CURVES`.
        cohorts: the cohort sheets of the study's datasets and of its external test datasets.
        settings: the other attributes of `Evidence`, from the study's configuration.
    """
    return Evidence(
        read_table(metrics, METRICS),
        read_table(summary, SUMMARY),
        read_table(runs, RUNS),
        read_table(forecasts, FORECASTS),
        read_table(calibrations, CALIBRATIONS),
        read_table(efficiency, EFFICIENCY),
        read_table(latencies, LATENCIES),
        read_table(curves, CURVES),
        patients=read_patients(cohorts),
        **settings,
    )
