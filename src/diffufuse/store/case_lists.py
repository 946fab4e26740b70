"""Lists of prepared cases: one file that stands for the records of a part of a fold, or of all cases.

A job depends on the list in place of a record for each case. The list holds the hash of every record, so it changes as
soon as one of its cases does, and with no other case.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from diffufuse.files.digests import sha256_of
from diffufuse.files.records import read_record, write_record
from diffufuse.files.sealed import not_as_written

# The folder of the lists of a dataset; no case has this name, as a name has no underscore.
CASE_LISTS = "case_lists"
WHAT = "a list of prepared cases"


def write_case_list(records: Iterable[str | os.PathLike[str]], path: str | os.PathLike[str]) -> None:
    """List prepared cases, in the order given: where each record lies, seen from the list, and its SHA-256.

    Raises:
        BadInput: a record cannot be read.
    """
    listed = [[os.path.relpath(record, Path(path).parent), sha256_of(record)] for record in records]
    write_record({"records": listed}, path)


def read_case_list(path: str | os.PathLike[str]) -> list[Path]:
    """The records of a list, each as it was when it was listed.

    Raises:
        BadInput: the list is missing or damaged, or a record is missing or another one than was listed.
    """
    try:
        listed = [(str(record), str(digest)) for record, digest in read_record(path)["records"]]
    except (KeyError, TypeError, ValueError) as error:
        raise not_as_written(path, WHAT, "it is another record") from error
    records = [Path(os.path.normpath(Path(path).parent / record)) for record, _ in listed]
    for record, (_, digest) in zip(records, listed, strict=True):
        if sha256_of(record) != digest:
            raise not_as_written(path, WHAT, f"{record} is another one by now")
    return records
