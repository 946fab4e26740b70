"""Studies of a few values, written out, for the tests of what is reported of them."""

import pandas as pd

from diffufuse.evaluate.cost_schemas import EFFICIENCY, LATENCIES
from diffufuse.evaluate.schemas import CALIBRATIONS, FORECASTS, METRICS
from diffufuse.files.records import write_record
from diffufuse.metrics.registry import ALL_METRICS
from diffufuse.report.evidence import Evidence
from diffufuse.report.patients import summarize
from diffufuse.report.runs import collect_runs
from diffufuse.report.schemas import CURVES, RUNS, SUMMARY

SCHEMAS = {
    "metrics": METRICS,
    "summary": SUMMARY,
    "runs": RUNS,
    "forecasts": FORECASTS,
    "calibrations": CALIBRATIONS,
    "efficiency": EFFICIENCY,
    "latencies": LATENCIES,
    "curves": CURVES,
}
PERFORMANCE = ("dice", "iou", "hd95", "precision", "recall")
PATIENTS = {"A-1": "A", "A-2": "A", "B-1": "B", "C-1": "C"}
PEOPLE = {f"P-{number}": f"P-{number}" for number in range(8)}
OTHER = [0.9, 0.8, 0.8, 0.7, 0.6, 0.6, 0.5, 0.2]
BASE = [0.8, 0.6, 0.7, 0.4, 0.2, 0.1, 0.5, 0.3]
RUN = {"dataset": "sts", "trained_on": "sts", "fold": 0, "region": "tumor"}
COUNTS = {"missed": 0.0, "spurious": 0.0, "both_empty": 0.0, "lost": 0.0}
CONDITIONS = {
    "clean": {},
    "no-pet": {"absent": ["pet"]},
    "only-ct": {"present": ["ct"]},
    "gauss-0.5": {"corruption": "gaussian_noise", "settings": {}},
    "bias": {"corruption": "bias_field", "settings": {}},
}
DATASETS = {
    "sts": {
        "lesion": "tumor",
        "regions": {"tumor": [1]},
        "modalities": {"pet": {"kind": "pet"}, "ct": {"kind": "ct"}, "t1": {"kind": "mr"}},
    },
    "brats": {"lesion": "wt", "regions": {"wt": [1]}, "modalities": {"t1": {"kind": "mr"}, "t2": {"kind": "mr"}}},
    "lits": {"lesion": "tumor", "regions": {"tumor": [1]}, "modalities": {"us": {"kind": "us"}}},
    "btcv": {
        "no_lesion": "Thirteen organs are labeled, and no lesion.",
        "regions": {"liver": [6]},
        "modalities": {"ct": {"kind": "ct"}},
    },
}
TRAINING = {"patch": [80, 80, 1], "modality_dropout": 0.5, "corruption": {"probability": 0.25}}
PLAN = {
    "dataset": "sts",
    "model": "unet2d",
    "fold": 0,
    "seed": 0,
    "block": {"architecture": "unet2d", "settings": {}, "training": TRAINING},
    "corruptions": [{"name": "gauss-0.1", "corruption": "gaussian_noise"}, {"name": "drift", "corruption": "drift"}],
}
RECORD = {
    "parameters": 1_004_000,
    "macs_per_sample": 256_000_000,
    "voxels_per_sample": 6400,
    "steps": 1200,
    "duration_s": 700.0,
    "seconds_per_step": 0.5,
    "device": "cpu",
    "threads": 1,
    "precision": "32-true",
    "commit": "0123456789abcdef-dirty",
    "versions": {"torch": "2.13.0+cpu"},
    "started_unix_s": 1_795_239_186.4,
}


def frame_of(*records, **run):
    """A metrics table from (case, condition, model, seed, {metric: value})."""
    rows = [
        RUN
        | run
        | {"case": case, "condition": condition, "model": model, "seed": seed}
        | {"metric": name, "value": value}
        for case, condition, model, seed, values in records
        for name, value in values.items()
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(unit=[ALL_METRICS[name].unit for name in frame["metric"]])[METRICS.names]


def empty(name):
    """A table without rows in the schema of that name."""
    return SCHEMAS[name].empty_table().to_pandas()


def evidence_of(*records, asked=PERFORMANCE, patients=PATIENTS, models=None, external=None, **changes):
    """What a study found whose metrics are those records."""
    metrics = frame_of(*records)
    models = models or {name: {"architecture": "unet2d"} for name in dict.fromkeys(metrics["model"])}
    if external is not None:
        metrics = pd.concat([metrics, external], ignore_index=True)
    excluded = dict.fromkeys(metrics["dataset"], 2)
    known = {name: empty(name) for name in ("runs", "forecasts", "calibrations", "efficiency", "latencies", "curves")}
    known |= {"conditions": CONDITIONS, "datasets": DATASETS, "transfers": []}
    known |= {"compare_with": "unet2d", "study_seed": 1} | changes
    summary = summarize(metrics, patients, excluded=excluded, study_seed=1)
    return Evidence(metrics, summary, patients=patients, models=models, asked=asked, **known)


def pairs_of(condition="clean", metric="dice", **models):
    """One value per person and model."""
    return [
        (case, condition, model, 0, {metric: value})
        for model, values in models.items()
        for case, value in zip(PEOPLE, values, strict=True)
    ]


def compared(*records, asked=("dice",), **changes):
    """What a study of eight people found."""
    return evidence_of(*records, asked=asked, patients=PEOPLE, **changes)


def full(**changes):
    """A value of every metric of performance and of those that are counted."""
    return dict.fromkeys(PERFORMANCE, 0.5) | COUNTS | changes


def runs_in(folder, *changes, trained_as):
    """The runs table of trainings that differ from `PLAN` and `RECORD` by the changes."""
    for number, change in enumerate(changes):
        (folder / str(number)).mkdir()
        for name, content in {"plan": PLAN, "run": RECORD}.items():
            kept = {key: value for key, value in change.items() if key in content}
            write_record(content | kept, folder / str(number) / f"{name}.json")
    return collect_runs([folder / str(number) for number in range(len(changes))], trained_as=trained_as)


def external_of(dice, *, model="unet2d"):
    """A metrics table of one person of another dataset."""
    return frame_of(("P-0", "clean", model, 0, {"dice": dice, "hd95": 9.0}), dataset="brats", region="wt")
