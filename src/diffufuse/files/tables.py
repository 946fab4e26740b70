"""Tables on disk, with schemas that are checked on writing and reading."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from diffufuse.errors import BadInput, printable
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
        pq.write_table(table, partial, write_page_checksum=True)


def read_table(path: str | os.PathLike[str], schema: pa.Schema) -> pd.DataFrame:
    """Read a table and check its pages' checksums and that it has its schema.

    Raises:
        BadInput: the file cannot be read, is damaged, or its columns or types differ.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read().replace_schema_metadata(None)
            if table.num_rows != file.metadata.num_rows:  # what says where the rows are has no checksum
                raise ValueError(f"{table.num_rows} of {file.metadata.num_rows} rows")
        frame = table.to_pandas() if table.schema.equals(schema) else None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BadInput(f"{path}: expected a whole Parquet table, but it cannot be read; make it again.") from error
    if frame is None:
        names = ", ".join(printable(name) for name in table.schema.names)
        raise BadInput(
            f"{path}: expected the columns {', '.join(schema.names)} with their types, got {names} or other types; "
            "make it again."
        )
    return frame


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
