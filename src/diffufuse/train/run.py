"""Runs: train the model of a plan, and write its weights, curves and record."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from diffufuse import processes
from diffufuse.errors import BadInput
from diffufuse.files.atomic import atomic_folder
from diffufuse.files.records import none_if_nan, write_record
from diffufuse.files.tables import write_table
from diffufuse.plan.plans import network_of, plan_modalities, run_seed, write_weights
from diffufuse.store.case import PreparedCase
from diffufuse.study.provenance import commit, versions
from diffufuse.train.batches import sampler_of
from diffufuse.train.checkpoints import remove_checkpoints
from diffufuse.train.history import HISTORY, History
from diffufuse.train.loop import fabric_for_this_machine, fit
from diffufuse.train.regimens import REGIMENS
from diffufuse.train.validation import Fuse, Predict, validation


@dataclass(frozen=True)
class Run:
    """A trained model and the record of its training.

    Attributes:
        plan: from `make_plan`.
        network: the trained network.
        history: the curves, columns of `HISTORY`.
        record: the content of `run.json`: digest of the plan, commit, versions, device, cost, last validation.
        checkpoints: folder of the checkpoints of the training.
    """

    plan: Mapping[str, Any]
    network: nn.Module
    history: pd.DataFrame
    record: Mapping[str, Any]
    checkpoints: Path


def train_run(
    plan: Mapping[str, Any],
    cases: Mapping[str, PreparedCase],
    index: pd.DataFrame,
    *,
    checkpoints: str | os.PathLike[str],
    predict: Predict,
    follow: Callable[[int, dict[str, float]], None],
    fuse: Fuse | None = None,
    started_unix_s: float,
    code: str = "",
) -> Run:
    """Train the model of a plan, or resume an interrupted training of the same plan, code and data.

    With `DIFFUFUSE_PROCESSES` it starts this program that many times, less one, and only the first process returns; the
    others exit when the training is over.

    Args:
        plan: from `make_plan`.
        cases: the plan's training and validation cases; only the images of the plan are read.
        index: rows of `PATCHES` of at least these cases.
        checkpoints: folder for checkpoints; `write_run` removes it.
        predict: network, scan and plan → probability of every region; for validation.
        follow: callback for live curves.
        fuse: network, scan and plan → fused image, (X, Y, Z) gray levels in 0..1, and where it is; for validation of a
            network that fuses. Without, no image is scored.
        started_unix_s: when the run started or resumed.
        code: digest of the training code.

    Raises:
        BadInput: the batch has no equal shares for all processes.
    """
    settings, history = plan["block"]["training"], History(follow)
    count = _processes(plan)
    fabric = fabric_for_this_machine(settings["precision"], processes=count)
    cases = {name: case.selected(plan_modalities(plan)) for name, case in cases.items()}
    validation_cases = [cases[name] for name in plan["validation_cases"]]
    regimen = REGIMENS[settings["regimen"]](
        network_of(plan),
        plan,
        sampler_of(plan, cases, index),
        lambda network: validation(network, validation_cases, plan, predict=predict, fuse=fuse),
        seed=run_seed(plan),
        fabric=fabric,
    )
    network = fit(
        regimen,
        settings=settings,
        seed=run_seed(plan),
        device=fabric.device,
        history=history,
        title=f"Train {plan['model']} on {plan['dataset']}, fold {plan['fold']}, seed {plan['seed']}",
        checkpoints=Path(checkpoints),
        identity=_identity(plan, cases, code),
    )
    if not processes.is_first():
        raise SystemExit(0)
    record = _run_record(plan, history, str(fabric.device), started_unix_s) | {"processes": count}
    return Run(plan, network, history.frame(), record, Path(checkpoints))


def write_run(
    run: Run,
    *,
    weights: str | os.PathLike[str],
    plan: str | os.PathLike[str],
    history: str | os.PathLike[str],
    record: str | os.PathLike[str],
) -> None:
    """Write a run: weights as safetensors in a folder, plan and record as JSON, curves; then remove its checkpoints."""
    with atomic_folder(weights) as folder:
        write_weights(run.network, folder)
    write_record(dict(run.plan), plan)
    write_table(run.history, history, HISTORY)
    write_record(dict(run.record), record)
    remove_checkpoints(run.checkpoints)


def _processes(plan: Mapping[str, Any]) -> int:
    """The number of processes that share the training of a plan; one where nothing is learned."""
    settings, count = plan["block"]["training"], processes.asked()
    if settings["regimen"] == "fixed":
        return 1
    if settings["batch"] % count:
        raise BadInput(
            f"Train {plan['model']}: expected a `batch` that {count} processes share equally, got {settings['batch']}; "
            f"lower {processes.COUNT}, or in config/models.yaml make `batch` a multiple of {count}, and `accumulate` "
            "smaller by as much."
        )
    return count


def _identity(plan: Mapping[str, Any], cases: Mapping[str, PreparedCase], code: str) -> str:
    """Digest of all that determines a training: plan, code, content of the stored cases, version of torch."""
    data = {name: [case.slices.sha256, case.statistics] for name, case in cases.items()}
    facts = {"plan": plan, "code": code, "data": data, "torch": str(torch.__version__)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _run_record(plan: Mapping[str, Any], history: History, device: str, started_unix_s: float) -> dict[str, Any]:
    curves = history.frame()
    last = curves[curves["quantity"].str.startswith("validation_")].groupby("quantity")["value"].last()
    return {
        "plan_sha256": hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest(),
        "split": {"sha256": plan["split_sha256"]}
        | {part: len(plan[part]) for part in ("training_cases", "validation_cases")},
        "commit": commit(),
        "versions": versions(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
        "threads": torch.get_num_threads(),
        "precision": plan["block"]["training"]["precision"],
        **history.facts,
        "resumed_at_steps": history.resumed_at_steps,
        "started_unix_s": started_unix_s,
        "duration_s": round(time.time() - started_unix_s, 1),
        "last_validation": {name: none_if_nan(value) for name, value in last.items()},
    }
