"""Records of cases between the stages that are those of something else."""

from diffufuse.files.records import write_record
from diffufuse.predict.samples import read_samples
from diffufuse.store.case import read_label_volumes, read_prepared
from faults import Fault


def record_of(facts):
    return lambda folder: write_record(facts, folder / "A.json")


def prepared(**changes):
    """Write the record of a prepared case with some facts changed; None removes one."""
    facts = {
        "case": "A",
        "slices_sha256": "0",
        "statistics": {},
        "affine": [[1, 0, 0, 0]] * 4,
        "labels_ml": {},
    } | changes
    return record_of({name: value for name, value in facts.items() if value is not None})


def read_case(folder):
    return read_prepared(folder / "A.json")


def read_drawn(folder):
    return read_label_volumes(folder / "A.json")


def read_volumes(folder):
    return read_samples(folder / "A.json")


FAULTS = [
    Fault("record: a prepared case without its hash", prepared(slices_sha256=None), read_case, "of a prepared case"),
    Fault("record: a prepared case with half an affine", prepared(affine=[[1, 0]]), read_case, "of a prepared case"),
    Fault("record: a prepared case with words as affine", prepared(affine="x"), read_case, "of a prepared case"),
    Fault("record: a prepared case without its labels", prepared(labels_ml=None), read_case, "of a prepared case"),
    Fault("record: a label without a volume", prepared(labels_ml={"1": {}}), read_drawn, "of a prepared case"),
    Fault("record: samples without volumes", record_of({}), read_volumes, "volumes of samples"),
    Fault("record: samples that are words", record_of({"volume_ml": ["much"]}), read_volumes, "volumes of samples"),
]
