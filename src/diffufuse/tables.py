"""Every table has one schema, declared here; a writer casts to it and refuses what does not fit."""

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from diffufuse.files import atomic_path

_RUN = [
    ("dataset", pa.string()),
    ("case", pa.string()),
    ("condition", pa.string()),
    ("trained_on", pa.string()),
    ("model", pa.string()),
    ("fold", pa.int8()),
    ("seed", pa.int16()),
]

# One value per case, region and metric; NaN is an undefined value.
METRICS = pa.schema(
    [*_RUN, ("region", pa.string()), ("metric", pa.string()), ("value", pa.float64()), ("unit", pa.string())]
)

# One row per dataset, condition, model, region and metric; statistics over patients. `excluded` counts the cases that
# the cohort sheet keeps out.
SUMMARY = pa.schema(
    [
        ("dataset", pa.string()),
        ("condition", pa.string()),
        ("trained_on", pa.string()),
        ("model", pa.string()),
        ("region", pa.string()),
        ("metric", pa.string()),
        ("unit", pa.string()),
        ("excluded", pa.int32()),
        ("patients", pa.int32()),
        ("undefined", pa.int32()),
        ("mean", pa.float64()),
        ("mean_low", pa.float64()),
        ("mean_high", pa.float64()),
        ("median", pa.float64()),
        ("minimum", pa.float64()),
        ("maximum", pa.float64()),
    ]
)

# What was forecast of the voxels `near` the region or in the whole `body` of all test cases, and what came true:
# one row per level, a probability in steps of 1/65535, with the voxels that belong to the reference and that do not.
FORECASTS = pa.schema(
    [
        *(column for column in _RUN if column[0] not in ("case", "fold", "seed")),
        ("region", pa.string()),
        ("scope", pa.string()),
        ("level", pa.int32()),
        ("inside", pa.int64()),
        ("outside", pa.int64()),
    ]
)

# What validation patients say of a run's probabilities near a region: the likeliest temperature, and the threshold of
# its prediction sets. NLL is the mean over patients, before and after the temperature.
CALIBRATIONS = pa.schema(
    [
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("fold", pa.int8()),
        ("seed", pa.int16()),
        ("region", pa.string()),
        ("patients", pa.int32()),
        ("temperature", pa.float64()),
        ("nll_before", pa.float64()),
        ("nll_after", pa.float64()),
        ("threshold", pa.float64()),
    ]
)

# What a trained model costs where it is used, on one device: logits for one slice, or one volume if it works in 3-D, of
# the size of a training patch. `macs` as in RUNS; memory beyond what the process held before, NaN if unknown.
EFFICIENCY = pa.schema(
    [
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("device", pa.string()),
        ("threads", pa.int16()),
        ("precision", pa.string()),
        ("voxels", pa.int64()),
        ("parameters", pa.int64()),
        ("macs", pa.int64()),
        ("file_mb", pa.float64()),
        ("peak_memory_mb", pa.float64()),
    ]
)

# One row per timed repeat, after warm-up.
LATENCIES = pa.schema(
    [
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("device", pa.string()),
        ("threads", pa.int16()),
        ("precision", pa.string()),
        ("batch", pa.int16()),
        ("repeat", pa.int32()),
        ("milliseconds", pa.float64()),
    ]
)

# One row per axial slice of a prepared case.
PATCHES = pa.schema(
    [
        ("dataset", pa.string()),
        ("case", pa.string()),
        ("slice", pa.int32()),
        ("body_voxels", pa.int32()),
        ("region", pa.string()),
        ("region_voxels", pa.int32()),
    ]
)

# One row per step and quantity: the curves of a training.
HISTORY = pa.schema([("step", pa.int32()), ("quantity", pa.string()), ("value", pa.float64()), ("unit", pa.string())])

# One row per run that a study reports. A model without a training of its own has the rows of `trained_as`, whose
# weights it uses. `macs_per_sample` gives logits for `voxels_per_sample`; `corruptions` are those of the training,
# joined by commas; `duration_s` counts from the last start, `seconds_per_step` over all steps.
RUNS = pa.schema(
    [
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("trained_as", pa.string()),
        ("fold", pa.int8()),
        ("seed", pa.int16()),
        ("parameters", pa.int64()),
        ("macs_per_sample", pa.int64()),
        ("voxels_per_sample", pa.int64()),
        ("steps", pa.int32()),
        ("duration_s", pa.float64()),
        ("seconds_per_step", pa.float64()),
        ("modality_dropout", pa.float64()),
        ("corruptions", pa.string()),
        ("device", pa.string()),
        ("threads", pa.int16()),
        ("precision", pa.string()),
        ("commit", pa.string()),
        ("torch", pa.string()),
        ("started_unix_s", pa.float64()),
    ]
)


def write_table(frame: pd.DataFrame, path: str | os.PathLike[str], schema: pa.Schema) -> None:
    """Write a table in exactly its schema, whole or not at all.

    Raises:
        ValueError: a column is missing, unknown or of another kind than the schema says.
    """
    if set(frame.columns) != set(schema.names):
        raise ValueError(f"{path}: expected the columns {schema.names}, got {list(frame.columns)}")
    try:
        table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False, safe=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"{path}: a column does not fit the schema ({error})") from error
    with atomic_path(path) as partial:
        pq.write_table(table, partial)


def read_table(path: str | os.PathLike[str], schema: pa.Schema) -> pd.DataFrame:
    """Read a table and check that it has its schema.

    Raises:
        ValueError: the file has other columns or kinds.
    """
    table = pq.read_table(path)
    if not table.schema.remove_metadata().equals(schema):
        raise ValueError(f"{path}: expected the schema {schema}, got {table.schema.remove_metadata()}")
    return table.to_pandas()


def write_rows(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Write rows as tab-separated text for people to read, whole or not at all; the first row names the columns."""
    with atomic_path(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_record(record: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a JSON record with sorted keys and no NaN, whole or not at all.

    Raises:
        ValueError: a value is NaN or infinite; undefined is None.
    """
    text = json.dumps(record, sort_keys=True, indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as partial:
        partial.write_text(text)


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON record."""
    return json.loads(Path(path).read_text())


def none_if_nan(value: float) -> float | None:
    """The value for a record: NaN, which JSON does not know, becomes None."""
    return None if math.isnan(value) else value


def read_tables(paths: Sequence[str | os.PathLike[str]], schema: pa.Schema) -> pd.DataFrame:
    """Read several tables of one schema as one, in the order given."""
    return pd.concat([read_table(path, schema) for path in paths], ignore_index=True)
