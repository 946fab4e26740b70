"""Tables on disk, with checksums, and schemas that are checked on writing and reading."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from diffufuse.errors import printable
from diffufuse.files.atomic import atomic_path
from diffufuse.files.sealed import BLANK, CHECKSUM, not_as_written, read_sealed, write_sealed

WHAT = "a Parquet table"


def write_table(frame: pd.DataFrame, path: str | os.PathLike[str], schema: pa.Schema) -> None:
    """Write a table atomically, cast to a schema, with its checksum.

    Raises:
        ValueError: a column is missing, not in the schema, or not of the schema's type.
    """
    if set(frame.columns) != set(schema.names):
        raise ValueError(f"{path}: expected the columns {schema.names}, got {list(frame.columns)}")
    try:
        table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False, safe=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"{path}: a column does not fit the schema ({error})") from error
    content = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({CHECKSUM: BLANK}), content)
    write_sealed(content.getvalue().to_pybytes(), path)


def read_table(path: str | os.PathLike[str], schema: pa.Schema) -> pd.DataFrame:
    """Read a table, compare its checksum and check that it has its schema.

    Raises:
        BadInput: the file is missing, cannot be read, has no checksum or another content, or its columns or types
            differ.
    """
    content = read_sealed(path, WHAT)
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            table = file.read().replace_schema_metadata(None)
    except pa.ArrowException as error:
        raise not_as_written(path, WHAT, "it is of another form") from error
    if not table.schema.equals(schema):
        names = ", ".join(printable(name) for name in table.schema.names)
        raise not_as_written(path, f"a Parquet table of {', '.join(schema.names)}", f"it has {names} or other types")
    return table.to_pandas()


def read_tables(paths: Sequence[str | os.PathLike[str]], schema: pa.Schema) -> pd.DataFrame:
    """Read tables of one schema and concatenate them in the given order; of none, a frame without rows."""
    if not paths:
        return schema.empty_table().to_pandas()
    return pd.concat([read_table(path, schema) for path in paths], ignore_index=True)


def write_rows(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    r"""Write rows atomically as tab-separated text without quoting; the columns are the keys of the first row.

    A character that would break a row or cannot be seen, as in a file's name, is written as its escape, such as `\t`.
    """
    columns = list(rows[0]) if rows else []
    lines = [columns, *([row[column] for column in columns] for row in rows)]
    text = "".join("\t".join(printable("" if cell is None else str(cell)) for cell in line) + "\n" for line in lines)
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
