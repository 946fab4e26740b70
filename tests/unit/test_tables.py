import math

import pandas as pd
import pytest

from diffufuse.files.records import read_record, write_record
from diffufuse.files.tables import read_table, read_tables, write_table
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
