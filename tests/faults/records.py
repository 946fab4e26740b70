"""Records and tables between the stages: torn, not text, or those of something else."""

import json
from pathlib import Path

from diffufuse.evaluate.schemas import METRICS
from diffufuse.files.records import read_record
from diffufuse.files.tables import read_table
from diffufuse.ingest.ingested import read_ingested
from diffufuse.predict.samples import read_samples
from diffufuse.store.case import read_prepared
from faults import Fault

INGESTED = {"case": "A", "files": {"A_labels.nii.gz": "0" * 64}}
NO_RECORD = "expected a whole record, but reading it failed; remove it and run again"


def holding(content):
    """Write a record with this content."""
    return lambda folder: (folder / "A.json").write_bytes(content)


def record_of(facts):
    return holding(json.dumps(facts).encode())


def changed_since(folder):
    """The ingested file is whole, but not the one of the record."""
    record_of(INGESTED)(folder)
    (folder / "A").mkdir()
    (folder / "A" / "A_labels.nii.gz").write_bytes(b"another")


def read_any(folder: Path) -> object:
    return read_record(folder / "A.json")


def read_case(folder: Path) -> object:
    return read_ingested(folder / "A.json", modalities=["ct"])


FAULTS = [
    Fault("record: torn", holding(b'{"case": "A", "fi'), read_any, NO_RECORD),
    Fault("record: empty", holding(b""), read_any, NO_RECORD),
    Fault("record: bytes that are no text", holding(b"\xff\xfe\x00{}"), read_any, NO_RECORD),
    Fault("record: nested without end", holding(b"[" * 100_000), read_any, NO_RECORD),
    Fault("record: not there", lambda folder: None, read_any, NO_RECORD),
    Fault("record: a folder", lambda folder: (folder / "A.json").mkdir(), read_any, NO_RECORD),
    Fault("record: a list", holding(b"[1, 2]"), read_any, "expected a record with names, got list"),
    Fault("record: not of an ingested case", record_of({"files": []}), read_case, "record of an ingested case"),
    Fault("record: an ingested file is gone", record_of(INGESTED), read_case, "but it is gone"),
    Fault("record: an ingested file was changed", changed_since, read_case, "but it was changed since"),
    Fault(
        "record: not of a prepared case",
        record_of({"case": "A", "slices_sha256": "0", "statistics": {}, "affine": [[1]]}),
        lambda folder: read_prepared(folder / "A.json"),
        "record of a prepared case",
    ),
    Fault(
        "record: samples without volumes",
        record_of({"volume_ml": ["much"]}),
        lambda folder: read_samples(folder / "A.json"),
        "volumes of samples",
    ),
    Fault(
        "table: torn",
        lambda folder: (folder / "a.parquet").write_bytes(b"PAR1"),
        lambda folder: read_table(folder / "a.parquet", METRICS),
        "expected a whole table",
    ),
    Fault(
        "table: not there",
        lambda folder: None,
        lambda folder: read_table(folder / "a.parquet", METRICS),
        "expected a whole table",
    ),
]
