"""A run is one trained model: its plan, its training, and what is kept of it."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn

from diffufuse.batches import SliceSampler
from diffufuse.files import atomic_path
from diffufuse.inference import predict_case
from diffufuse.metrics.overlap import dice
from diffufuse.plans import network_of, plan_modalities, plan_regions, run_seed
from diffufuse.prepared import PreparedCase
from diffufuse.provenance import commit, versions
from diffufuse.tables import HISTORY, none_if_nan, write_record, write_table
from diffufuse.training import History, fabric_for_this_machine, fit


@dataclass(frozen=True)
class Run:
    """A trained model and how it came about.

    Attributes:
        plan: from `make_plan`.
        network: the trained network.
        history: the curves, columns of `tables.HISTORY`.
        record: the content of `run.json`: digest of the plan, commit, versions, device, duration, validation Dice.
    """

    plan: Mapping[str, Any]
    network: nn.Module
    history: pd.DataFrame
    record: Mapping[str, Any]


def train_run(
    plan: Mapping[str, Any],
    cases: Mapping[str, PreparedCase],
    index: pd.DataFrame,
    *,
    follow: Callable[[int, dict[str, float]], None],
    started_unix_s: float,
) -> Run:
    """Train the model of a plan.

    Args:
        plan: from `make_plan`.
        cases: the plan's training and validation cases.
        index: rows of `tables.PATCHES` of at least these cases.
        follow: receives the curves while they grow.
        started_unix_s: when the run began.
    """
    fabric = fabric_for_this_machine()
    settings = plan["block"]["training"]
    sampler = SliceSampler(
        cases={name: cases[name] for name in plan["training_cases"]},
        index=index[index["case"].isin(plan["training_cases"])],
        modalities=plan_modalities(plan),
        regions=plan_regions(plan),
        patch=tuple(settings["patch"]),
        foreground_share=settings["foreground_share"],
    )
    history = History(follow)
    network = fit(
        network_of(plan),
        sampler.draw,
        lambda network: validation_dice(network, [cases[name] for name in plan["validation_cases"]], plan),
        settings=settings,
        seed=run_seed(plan),
        fabric=fabric,
        history=history,
        title=f"Train {plan['model']} on {plan['dataset']}, fold {plan['fold']}, seed {plan['seed']}",
    )
    curves = history.frame()
    return Run(plan, network, curves, _run_record(plan, network, curves, str(fabric.device), started_unix_s))


def write_run(
    run: Run,
    *,
    weights: str | os.PathLike[str],
    plan: str | os.PathLike[str],
    history: str | os.PathLike[str],
    record: str | os.PathLike[str],
) -> None:
    """Write a run: weights as safetensors, plan and record as JSON, curves as Parquet."""
    with atomic_path(weights) as partial:
        save_file(run.network.state_dict(), partial)
    write_record(dict(run.plan), plan)
    write_table(run.history, history, HISTORY)
    write_record(dict(run.record), record)


def validation_dice(network: nn.Module, cases: Sequence[PreparedCase], plan: Mapping[str, Any]) -> dict[str, float]:
    """Mean over cases of the Dice of each region in 3-D; NaN without cases."""
    regions = plan_regions(plan)
    if not cases:
        return dict.fromkeys(regions, float("nan"))
    network.eval()
    per_case = []
    for case in cases:
        labels = case.slices.labels(slice(None)).transpose(1, 2, 0)
        masks = predict_case(network, case.scan, plan)
        per_case.append([dice(masks[region], np.isin(labels, values)) for region, values in regions.items()])
    return dict(zip(regions, np.mean(per_case, axis=0).tolist(), strict=True))


def _run_record(
    plan: Mapping[str, Any], network: nn.Module, curves: pd.DataFrame, device: str, started_unix_s: float
) -> dict[str, Any]:
    last = curves[curves["quantity"].str.startswith("validation_")].groupby("quantity")["value"].last()
    return {
        "plan_sha256": hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest(),
        "commit": commit(),
        "versions": versions(),
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
        "threads": torch.get_num_threads(),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "started_unix_s": started_unix_s,
        "duration_s": round(time.time() - started_unix_s, 1),
        "last_validation": {name: none_if_nan(value) for name, value in last.items()},
    }
