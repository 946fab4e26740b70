"""The tables of a study's runs, joined: a name in `results/report/{study}/{name}.parquet` is a key here."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from diffufuse.evaluate.cost_schemas import EFFICIENCY, LATENCIES
from diffufuse.evaluate.schemas import CALIBRATIONS, FORECASTS, METRICS
from diffufuse.files.records import read_record
from diffufuse.files.tables import read_table, read_tables
from diffufuse.metrics.overlap import COUNTED
from diffufuse.report.runs import collect_runs
from diffufuse.report.schemas import CURVES, RUNS
from diffufuse.train.history import HISTORY


class Joined(NamedTuple):
    """How to join the tables of runs.

    Attributes:
        schema: of the joined table.
        join: (paths of the runs' tables, in order, settings of the study) → the table.
    """

    schema: pa.Schema
    join: Callable[..., pd.DataFrame]


def chosen_metrics(paths: Sequence[str], *, metrics: Sequence[str], **_: Any) -> pd.DataFrame:
    """Rows of the metrics that a study reports, and of those that count cases."""
    joined = read_tables(paths, METRICS)
    return joined[joined["metric"].isin([*metrics, *COUNTED])].reset_index(drop=True)


def summed_forecasts(paths: Sequence[str], **_: Any) -> pd.DataFrame:
    """Forecasts summed over all folds and seeds of a model."""
    keys = [name for name in FORECASTS.names if name not in ("inside", "outside")]
    tables = read_tables(paths, FORECASTS)
    return tables.groupby(keys, sort=False, as_index=False).sum()[FORECASTS.names]


def runs(paths: Sequence[str], *, trained_as: Mapping[str, str], **_: Any) -> pd.DataFrame:
    """All trainings and their cost."""
    return collect_runs([Path(path).parent for path in paths], trained_as=trained_as)


def calibrations(paths: Sequence[str], **_: Any) -> pd.DataFrame:
    """Concatenated tables."""
    return read_tables(paths, CALIBRATIONS)


def efficiency(paths: Sequence[str], **_: Any) -> pd.DataFrame:
    """Concatenated tables."""
    return read_tables(paths, EFFICIENCY)


def latencies(paths: Sequence[str], **_: Any) -> pd.DataFrame:
    """Concatenated tables."""
    return read_tables(paths, LATENCIES)


def curves(paths: Sequence[str], **_: Any) -> pd.DataFrame:
    """The histories of all runs, each beside the plan of its run."""
    tables = [CURVES.empty_table().to_pandas()]
    for path in paths:
        plan = read_record(Path(path).parent / "plan.json")
        run = {name: plan[name] for name in ("dataset", "model", "fold", "seed")}
        tables.append(read_table(path, HISTORY).assign(**run)[CURVES.names])
    return pd.concat(tables[1:] or tables, ignore_index=True)


JOINED = {
    "metrics": Joined(METRICS, chosen_metrics),
    "forecasts": Joined(FORECASTS, summed_forecasts),
    "calibrations": Joined(CALIBRATIONS, calibrations),
    "efficiency": Joined(EFFICIENCY, efficiency),
    "latencies": Joined(LATENCIES, latencies),
    "runs": Joined(RUNS, runs),
    "curves": Joined(CURVES, curves),
}
