import math

import pandas as pd
import pyarrow as pa
import pytest

from diffufuse.errors import BadInput
from diffufuse.files.records import read_record, write_record
from diffufuse.files.tables import read_table, read_tables, write_rows, write_table
from diffufuse.train.history import HISTORY

ROW = {"step": 1, "quantity": "loss", "value": 0.5, "unit": "1"}


def test_a_table_keeps_its_schema_and_an_undefined_value(tmp_path):
    frame = pd.DataFrame([ROW, ROW | {"value": math.nan}])
    write_table(frame, tmp_path / "a.parquet", HISTORY)
    read = read_table(tmp_path / "a.parquet", HISTORY)
    assert read["value"].tolist()[0] == 0.5
    assert math.isnan(read["value"].tolist()[1])
    assert len(read_tables([tmp_path / "a.parquet"] * 2, HISTORY)) == 4


@pytest.mark.parametrize("row", [{"step": 1}, ROW | {"more": 1}, ROW | {"step": 1.5}, ROW | {"value": "high"}])
def test_what_does_not_fit_the_schema_is_refused_and_leaves_no_file(tmp_path, row):
    with pytest.raises(ValueError, match=r"a\.parquet"):
        write_table(pd.DataFrame([row]), tmp_path / "a.parquet", HISTORY)
    assert list(tmp_path.iterdir()) == []


def test_a_record_refuses_nan_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_record({"a": math.nan}, tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_a_record_is_sorted_text(tmp_path):
    write_record({"b": 1, "a": [2]}, tmp_path / "a.json")
    assert list(read_record(tmp_path / "a.json")) == ["a", "b"]


def test_a_table_of_another_schema_is_refused_in_one_sentence(tmp_path):
    path, other = tmp_path / "a.parquet", pa.schema([("step", pa.int64())])
    write_table(pd.DataFrame([ROW] * 50), path, HISTORY)
    with pytest.raises(BadInput, match=r"a\.parquet: expected a Parquet table of step as .* but it has step, quantity"):
        read_table(path, other)


def test_rows_are_written_on_one_line_each_without_quoting(tmp_path):
    names = ["a.nii", 'so "called".nii', "tab\there", "line\nbreak", "next\x85line", "latin\udce9", "zürich"]
    write_rows(
        [{"file": name, "n": number} for number, name in enumerate(names)] + [{"file": None, "n": 9}],
        tmp_path / "a.tsv",
    )
    rows = [line.split("\t") for line in (tmp_path / "a.tsv").read_text(encoding="utf-8").splitlines()]
    assert rows[0] == ["file", "n"]
    assert [row[0] for row in rows[1:]] == [
        *("a.nii", 'so "called".nii', r"tab\there", r"line\nbreak", r"next\x85line", r"latin\xe9", "zürich", "")
    ]


def test_a_record_that_is_not_there_is_told_by_name(tmp_path):
    with pytest.raises(
        BadInput, match=r"absent\.json: expected a JSON record as it was written, but it cannot be read"
    ):
        read_record(tmp_path / "absent.json")
