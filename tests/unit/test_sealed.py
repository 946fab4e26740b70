"""Files that hold their own checksum: every change is refused, in a sentence with the command that makes them anew."""

import hashlib
import json
import math

import pandas as pd
import pyarrow.parquet as pq
import pytest

from diffufuse.errors import BadInput
from diffufuse.files.records import read_record, write_record
from diffufuse.files.sealed import BLANK, SEAL, read_sealed, write_sealed
from diffufuse.files.tables import read_table, write_table
from diffufuse.train.history import HISTORY

RECORD = {"b": [1, 2.5, None], "a": {"10": "ü", "2": math.pi}}
ROWS = pd.DataFrame([{"step": step, "quantity": "loss", "value": step / 3, "unit": "1"} for step in range(20)])


def test_the_digits_are_the_hash_of_the_file_with_zeros_in_their_place(tmp_path):
    write_sealed(f"first\n{BLANK}\nlast\n".encode(), tmp_path / "a")
    text = (tmp_path / "a").read_text()
    digits = text.split(SEAL)[1][:64]
    assert digits == hashlib.sha256(text.replace(digits, "0" * 64).encode()).hexdigest()
    assert read_sealed(tmp_path / "a", "a text").decode() == text


@pytest.mark.parametrize("content", [b"none", 2 * BLANK.encode()])
def test_a_content_without_one_place_for_the_checksum_is_not_written(tmp_path, content):
    with pytest.raises(ValueError, match="one place for the checksum"):
        write_sealed(content, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_record_is_plain_json_beside_its_checksum_and_is_read_without_it(tmp_path):
    write_record(RECORD, tmp_path / "a.json")
    assert read_record(tmp_path / "a.json") == RECORD
    assert {**json.loads((tmp_path / "a.json").read_text()), "checksum": 0} == RECORD | {"checksum": 0}


def test_a_table_is_plain_parquet_and_its_checksum_no_part_of_what_is_read(tmp_path):
    write_table(ROWS, tmp_path / "a.parquet", HISTORY)
    assert pq.read_table(tmp_path / "a.parquet").num_rows == len(ROWS)
    assert read_table(tmp_path / "a.parquet", HISTORY).to_dict("records") == ROWS.to_dict("records")


def test_the_same_content_gives_the_same_file(tmp_path):
    for name in ("a", "b"):
        write_record(RECORD, tmp_path / f"{name}.json")
        write_table(ROWS, tmp_path / f"{name}.parquet", HISTORY)
    for kind in ("json", "parquet"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


@pytest.mark.parametrize("remove", [None, "results/predict/fold-0"])
def test_a_refusal_names_the_file_what_is_wrong_and_the_command_that_makes_it_anew(tmp_path, remove):
    path, end = tmp_path / "a.json", rf"; remove {remove or 'it'} and run snakemake again\.$"
    write_record(RECORD, path)
    whole = path.read_bytes()
    for content, wrong in (
        (whole.replace(b"2.5", b"2.6"), "it is damaged or edited"),
        (whole.replace(SEAL.encode(), b""), "it has no checksum: it is damaged, or of an earlier release"),
        (whole * 2, "it has no checksum"),
        (b"", "it has no checksum"),
    ):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=rf"a\.json: expected a JSON record as it was written, but {wrong}.*{end}"):
            read_record(path, remove=remove)
    path.unlink()
    with pytest.raises(BadInput, match=rf"it cannot be read \(No such file or directory\){end}"):
        read_record(path, remove=remove)


def test_a_sealed_file_of_another_kind_is_refused(tmp_path):
    write_record(RECORD, tmp_path / "a.parquet")
    with pytest.raises(BadInput, match="expected a Parquet table as it was written, but it is of another form"):
        read_table(tmp_path / "a.parquet", HISTORY)
    write_table(ROWS, tmp_path / "a.json", HISTORY)
    with pytest.raises(BadInput, match="expected a JSON record as it was written, but it is of another form"):
        read_record(tmp_path / "a.json")
