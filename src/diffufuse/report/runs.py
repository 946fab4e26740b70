"""The trainings of a study and their cost."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from diffufuse.files.records import read_record
from diffufuse.report.schemas import RUNS

COST = ("parameters", "macs_per_sample", "voxels_per_sample", "steps", "duration_s", "seconds_per_step")
MACHINE = ("device", "threads", "precision", "commit", "started_unix_s")


def collect_runs(folders: Sequence[str | os.PathLike[str]], *, trained_as: Mapping[str, str]) -> pd.DataFrame:
    """The runs of a study and their cost.

    Args:
        folders: of every training, with its `plan.json` and `run.json`.
        trained_as: model of the study, in its order → the model whose weights it uses, mostly itself.

    Returns:
        A frame in the schema `RUNS`.
    """
    trained = [(read_record(Path(folder) / "plan.json"), read_record(Path(folder) / "run.json")) for folder in folders]
    rows = [
        run_row(plan, record, model=model)
        for model, source in trained_as.items()
        for plan, record in trained
        if plan["model"] == source
    ]
    return pd.DataFrame(rows, columns=RUNS.names)


def run_row(plan: Mapping[str, Any], record: Mapping[str, Any], *, model: str) -> dict[str, Any]:
    """One row of `RUNS`.

    Args:
        plan: the content of `plan.json`.
        record: the content of `run.json`.
        model: the reported model: that of the plan, or one that uses its weights.
    """
    training = plan["block"]["training"]
    corrupted = training["corruption"]["probability"] > 0
    return {
        "dataset": plan["dataset"],
        "model": model,
        "trained_as": plan["model"],
        "fold": plan["fold"],
        "seed": plan["seed"],
        "modality_dropout": float(training["modality_dropout"]),
        "corruptions": ",".join(sorted({block["corruption"] for block in plan["corruptions"]} if corrupted else ())),
        "torch": record["versions"]["torch"],
        **{name: record[name] for name in (*COST, *MACHINE)},
    }
