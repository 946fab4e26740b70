"""Tables on disk, with schemas that are checked on writing and reading."""

import csv
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from diffufuse.files.atomic import atomic_path


def write_table(frame: pd.DataFrame, path: str | os.PathLike[str], schema: pa.Schema) -> None:
    """Write a table atomically, cast to a schema.

    Raises:
        ValueError: a column is missing, not in the schema, or not of the schema's type.
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
        ValueError: columns or types differ.
    """
    table = pq.read_table(path)
    if not table.schema.remove_metadata().equals(schema):
        raise ValueError(f"{path}: expected the schema {schema}, got {table.schema.remove_metadata()}")
    return table.to_pandas()


def read_tables(paths: Sequence[str | os.PathLike[str]], schema: pa.Schema) -> pd.DataFrame:
    """Read tables of one schema and concatenate them in the given order."""
    return pd.concat([read_table(path, schema) for path in paths], ignore_index=True)


def write_rows(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Write rows atomically as tab-separated text; the columns are the keys of the first row."""
    with atomic_path(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
