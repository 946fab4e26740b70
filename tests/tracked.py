"""A study of two trainings and a variant, as files show it, and what MLflow shows of it."""

import shutil
import time

import pandas as pd
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from diffufuse.files.records import write_record
from diffufuse.files.tables import write_table
from diffufuse.plan.plans import network_of, write_weights
from diffufuse.track.store import opened_store
from diffufuse.track.study import read_training, show_study
from diffufuse.train.history import HISTORY as CURVES

BLOCK = {
    "task": "segment",
    "architecture": "unet2d",
    "settings": {"channels": [4, 8, 8], "groups": 2},
    "output": "regions",
    "training": {"steps": 20, "learning_rate": 0.01, "patch": [16, 16, 1]},
}
PLAN = {
    "path": "train/d/m/fold-0_seed-0",
    "dataset": "d",
    "model": "m",
    "fold": 0,
    "seed": 0,
    "block": BLOCK,
    "study_seed": 1,
    "modalities": [
        {"name": "pet", "kind": "pet", "normalization": {"method": "log"}},
        {"name": "t1", "kind": "mr", "normalization": {"method": "zscore"}},
    ],
    "regions": [{"name": "mass", "labels": [1]}, {"name": "edema", "labels": [1, 2]}],
    "training_cases": ["A", "B"],
    "patients": {"A": "A", "B": "B"},
}
RECORD = {"commit": "abc", "versions": {"diffufuse": "0"}, "device": "cpu", "duration_s": 3.0, "started_unix_s": 1.0}
RECORD |= {"seconds_per_step": 0.1, "parameters": 1000, "macs_per_sample": 2000}
HISTORY = pd.DataFrame({"step": [10, 20], "quantity": "loss", "value": [0.5, 0.25], "unit": "1"})
TESTED = {"dataset": "d", "trained_on": "d", "condition": "clean", "model": "m", "region": "mass", "metric": "dice"}
METRICS = pd.DataFrame([TESTED | {"fold": fold, "seed": 0, "value": value} for fold in (0, 1) for value in (0.6, 0.8)])
SUMMARY = pd.DataFrame(
    [
        TESTED | change
        for change in ({"mean": 0.7}, {"metric": "hd95", "mean": float("nan")}, {"model": "v", "mean": 0.4})
    ]
)
STUDY = {"name": "s", "folds": [0, 1]}
DATASETS = {"d": {"title": "Drawn", "license": "CC0", "citation": "Nobody, 2026"}}
MODELS = {"m": BLOCK, "v": {"weights_of": "m", "settings": {"temperature": 0.0}}}


def training_in(folder, *, plan=PLAN, record=RECORD, history=HISTORY):
    """A training, written and read."""
    folder = folder / plan["path"]
    folder.mkdir(parents=True, exist_ok=True)
    write_record(plan, folder / "plan.json")
    write_record(record, folder / "run.json")
    write_table(history, folder / "history.parquet", CURVES)
    write_weights(network_of(plan), folder / "weights")
    return read_training(folder)


def both_folds(folder):
    """Two trainings of one model; the loss of the second is half as large."""
    second = {**PLAN, "path": "train/d/m/fold-1_seed-0", "fold": 1}
    half = HISTORY.assign(value=HISTORY["value"] / 2)
    return [training_in(folder), training_in(folder, plan=second, history=half)]


def shown(store, folder, *, trainings=None, **changes):
    """Show the study; returns path → id."""
    page, picture = folder / "report" / "s" / "results.md", folder / "report" / "s" / "overlays" / "d" / "A.png"
    manifest = folder / "d.manifest.tsv"
    for file in (page, picture, manifest):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.name)
    asked = {"models": MODELS, "datasets": DATASETS, "metrics": METRICS, "summary": SUMMARY, **changes}
    logged = show_study(
        store,
        asked.pop("study", STUDY),
        trainings=both_folds(folder) if trainings is None else trainings,
        manifests=[str(manifest)],
        artifacts={"": [str(page)], "pictures": [str(picture)]},
        **asked,
    )
    return logged["runs"]


def empty_store(folder, template):
    """A store in a folder, copied from a template that is made once, as MLflow takes seconds to make its tables."""
    if not template.exists():
        with opened_store(template):
            pass
    shutil.copytree(template, folder)
    return folder


def client_of(store):
    """A client of the database in the folder."""
    return MlflowClient(f"sqlite:///{store}/mlflow.db")


def eventually(found, *, seconds=60):
    """Wait until something is found."""
    until = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.05)


def runs_in(client, experiment, *, deleted=False):
    """The runs of an experiment by their paths; none before there is one."""
    existing = client.get_experiment_by_name(experiment)
    view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    runs = client.search_runs([existing.experiment_id], run_view_type=view) if existing else []
    assert len({run.data.tags["path"] for run in runs}) == len(runs)
    return {run.data.tags["path"]: run for run in runs}


def curve_of(client, quantity, *, experiment="d", path=PLAN["path"]):
    """The values of a quantity in a run, in the order of their steps; none before there is one."""
    run = runs_in(client, experiment).get(path)
    points = client.get_metric_history(run.info.run_id, quantity) if run else []
    return [point.value for point in sorted(points, key=lambda point: point.step)]
