"""Damaged files between the stages: each is refused, or read as it was written."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from diffufuse.evaluate.predicted import Predicted
from diffufuse.files.records import read_record, write_record
from diffufuse.plan.plans import WEIGHTS, load_model, network_of, write_weights
from diffufuse.predict.samples import read_samples, write_samples
from diffufuse.space.volumes import Volume, read_result, write_probability, write_volume
from diffufuse.store.case import read_prepared
from diffufuse.store.slices import write_slices
from fuzz import Target
from fuzz.tables import copied

SHAPE = (8, 6, 5)
GRID = Volume(np.zeros(SHAPE, np.float32), np.diag([2.0, 2.0, 3.0, 1.0]))
VALUES = np.random.default_rng(2).random(SHAPE, np.float32)
MASK = VALUES > 0.5
PLAN = {
    "dataset": "phantom",
    "model": "unet2d",
    "fold": 0,
    "seed": 0,
    "study_seed": 1,
    "block": {
        "architecture": "unet2d",
        "output": "regions",
        "settings": {"channels": [4, 4, 4], "groups": 2},
        "input": {},
        "task": "segment",
    },
    "modalities": [{"name": "ct", "kind": "ct"}],
    "regions": [{"name": "tumor", "labels": [1]}],
}


def write_case(folder: Path) -> None:
    """Write a prepared case: its record, store, labels and body, and a prediction of it with samples."""
    whole = np.ones(SHAPE, bool)
    images = {"ct": VALUES}
    labels = MASK.astype(np.uint8)
    digest = write_slices(folder / "A_slices.b2nd", images=images, presence={"ct": whole}, body=whole, labels=labels)
    record = {"case": "A", "slices_sha256": digest, "affine": GRID.affine.tolist()}
    facts = {"statistics": {"ct": {"mean": 0.5, "sd": 0.3}}, "labels_ml": {"1": {"drawn": 1.0, "resampled": 1.0}}}
    write_record(record | facts, folder / "A.json")
    for name in ("labels", "body", "tumor"):
        write_volume(GRID.with_array(labels), folder / f"A_{name}.nii.gz")
    write_probability(GRID.with_array(VALUES), folder / "A_tumor_probability.nii.gz")
    write_samples({"tumor": [1.0, 2.5]}, "A", folder)


@cache
def files_of_case() -> dict[str, bytes]:
    """The files of the case, name to content."""
    with TemporaryDirectory() as folder:
        write_case(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def make_case(folder: Path) -> None:
    for name, content in files_of_case().items():
        (folder / name).write_bytes(content)


def read_case(folder: Path) -> dict[str, object]:
    """Read the case as training does, and the prediction beside it as evaluation does."""
    case = read_prepared(folder / "A.json")
    [(_, _, comparison)] = Predicted(folder, [folder / "A.json"], {"tumor": [1]}).comparisons()
    return {
        "images": case.scan.images,
        "labels": case.slices.labels(slice(None)),
        "facts": (case.name, case.statistics, case.affine.tolist(), case.labels_ml),
        "mask": comparison.prediction,
        "probability": read_result(folder / "A_tumor_probability.nii.gz").array,
        "body": read_result(folder / "A_body.nii.gz").array,
        "samples": read_samples(folder / "A_tumor_samples.json"),
    }


def make_weights(folder: Path) -> None:
    write_weights(network_of(PLAN), folder)


def read_weights(folder: Path) -> dict[str, object]:
    return {name: weight.numpy() for name, weight in load_model(PLAN, folder).cpu().state_dict().items()}


def make_record(folder: Path) -> None:
    write_record(PLAN | {"last_validation": {"dice": 0.25, "loss": None}}, folder / "run.json")


def read_facts(folder: Path) -> dict[str, object]:
    return read_record(folder / "run.json")


CASE_FILES = (
    "A.json",
    "A_slices.b2nd",
    "A_labels.nii.gz",
    "A_body.nii.gz",
    "A_tumor.nii.gz",
    "A_tumor_probability.nii.gz",
    "A_tumor_samples.json",
)
TARGETS = [
    Target("result: run.json", copied(make_record, "run.json"), "run.json", read_facts),
    Target(f"result: {WEIGHTS}", copied(make_weights, WEIGHTS), WEIGHTS, read_weights),
    *(Target(f"result: {name}", make_case, name, read_case) for name in CASE_FILES),
]
