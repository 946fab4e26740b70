"""Log finished runs and studies to MLflow; everything in MLflow can be rebuilt from the result files."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Param, RunTag

from diffufuse.track.client import ensure_experiment, find_or_create, forget, opened_store, points

METRICS_PER_CALL = 1000
STUDIES = "studies"
LONGEST_PARAMETER = 500
PATIENCE_S = 60


def replay(
    store: str | os.PathLike[str],
    plan: Mapping[str, Any],
    run: Mapping[str, Any],
    *,
    history: pd.DataFrame,
    metrics: pd.DataFrame,
    tags: Mapping[str, str],
    artifacts: Mapping[str, Iterable[str]],
) -> dict[str, Any]:
    """Complete a run in MLflow from its files; idempotent.

    Args:
        store: folder of the MLflow store.
        plan: becomes parameters, flattened; its `path` is the run's identity.
        run: the content of `run.json`.
        history: the curves, columns of `HISTORY`.
        metrics: the run's evaluation, columns of `METRICS`; shown as means over cases.
        tags: further tags, e.g. the dataset's license.
        artifacts: artifact folder → files.

    Returns:
        A record: the run's id and path.

    Raises:
        BadInput: MLflow fails or does not answer.
    """
    experiment, path = plan["dataset"], plan["path"]
    with opened_store(store, patience_s=PATIENCE_S) as client:
        ensure_experiment(client, store, experiment)
        mlflow_run = find_or_create(client, experiment, path)
        identity = mlflow_run.info.run_id
        existing = set(mlflow_run.data.params)
        params = [Param(key, value) for key, value in flatten(plan).items() if key not in existing]
        run_tags = {"commit": run["commit"], "version": run["versions"]["diffufuse"], "device": run["device"], **tags}
        client.log_batch(identity, params=params, tags=[RunTag(key, str(value)) for key, value in run_tags.items()])
        curves = [
            point
            for step, rows in history.groupby("step")
            for point in points(
                int(str(step)), dict(zip(rows["quantity"], rows["value"], strict=True)), run["started_unix_s"]
            )
        ]
        curves += points(0, _test_means(metrics) | {"duration_s": run["duration_s"]}, run["started_unix_s"])
        for first in range(0, len(curves), METRICS_PER_CALL):
            client.log_batch(identity, metrics=curves[first : first + METRICS_PER_CALL])
        for folder, files in artifacts.items():
            for file in files:
                client.log_artifact(identity, file, folder)
        client.set_terminated(identity, "FINISHED")
    return {"run_id": identity, "path": path}


def show_study(
    store: str | os.PathLike[str],
    study: Mapping[str, Any],
    *,
    summary: pd.DataFrame,
    artifacts: Mapping[str, Iterable[str]],
) -> dict[str, Any]:
    """Log the results of a study as one run of the experiment `studies`, which replaces an earlier one.

    Args:
        store: folder of the MLflow store.
        study: its block of the configuration; becomes parameters.
        summary: statistics over patients, columns of `SUMMARY`; shown as means.
        artifacts: artifact folder → files; pictures keep their folders below the study's.

    Returns:
        A record: the run's id and path.

    Raises:
        BadInput: MLflow fails or does not answer.
    """
    path = f"study/{study['name']}"
    with opened_store(store, patience_s=PATIENCE_S) as client:
        ensure_experiment(client, store, STUDIES)
        forget(client, STUDIES, path)
        identity = find_or_create(client, STUDIES, path).info.run_id
        client.log_batch(identity, params=[Param(key, value) for key, value in flatten(study).items()])
        names = summary[["dataset", "condition", "trained_on", "model", "region", "metric"]].agg(".".join, axis=1)
        curves = points(0, dict(zip(names, summary["mean"], strict=True)), 0.0)
        for first in range(0, len(curves), METRICS_PER_CALL):
            client.log_batch(identity, metrics=curves[first : first + METRICS_PER_CALL])
        for folder, files in artifacts.items():
            for file in files:
                subfolders = Path(file).parts[Path(file).parts.index("report") + 2 : -1] if folder == "pictures" else ()
                client.log_artifact(identity, file, "/".join([folder, *subfolders]))
        client.set_terminated(identity, "FINISHED")
    return {"run_id": identity, "path": path}


def flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested settings to dotted names; a list of scalars becomes one string."""
    flat: dict[str, str] = {}
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            flat |= flatten({str(item.get("name", n)): item for n, item in enumerate(value)}, f"{name}.")
        else:
            flat[name] = str(value)[:LONGEST_PARAMETER]
    return flat


def _test_means(metrics: pd.DataFrame) -> dict[str, float]:
    names = "test." + metrics["condition"] + "." + metrics["region"] + "." + metrics["metric"]
    return {str(name): float(value) for name, value in metrics["value"].groupby(names).mean().items()}
