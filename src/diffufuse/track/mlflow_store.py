"""Show runs in MLflow; the files stay the truth, and whatever is here can be rebuilt from them."""

import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from diffufuse.files.records import read_record, write_record

log = logging.getLogger(__name__)

METRICS_PER_CALL = 1000
STUDIES = "studies"
LONGEST_PARAMETER = 500


def init_store(record: str | os.PathLike[str], *, experiments: Iterable[str]) -> None:
    """Create the store's tables and its experiments, once, before anything writes to it.

    The store is `MLFLOW_TRACKING_URI` where that is set, else `mlflow.db` beside the record.

    Args:
        record: JSON file that tells later jobs the store's address.
        experiments: one per dataset.
    """
    folder = Path(record).parent
    folder.mkdir(parents=True, exist_ok=True)
    uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{(folder / 'mlflow.db').as_posix()}")
    client = MlflowClient(uri)
    for name in experiments:
        if client.get_experiment_by_name(name) is None:
            client.create_experiment(name, artifact_location=(folder / "artifacts" / name).absolute().as_uri())
    write_record({"uri": uri}, record)


def follow_live(
    store: str | os.PathLike[str], plan: Mapping[str, Any], *, started_unix_s: float
) -> Callable[[int, dict[str, float]], None]:
    """A function that shows a training's curves while they grow; it warns once and then is silent if MLflow fails.

    Args:
        store: the record that `init_store` wrote.
        plan: of the run; its `path` is the run's identity.
        started_unix_s: when the training began.
    """
    uri, experiment, path = read_record(store)["uri"], plan["dataset"], plan["path"]
    try:
        client = MlflowClient(uri)
        _forget(client, experiment, path)
        run = _find_or_create(client, experiment, path)
    except (MlflowException, OSError) as error:
        log.warning("MLflow cannot be reached, so the curves are not shown live: %s", error)
        return lambda step, values: None
    working = [True]

    def follow(step: int, values: dict[str, float]) -> None:
        if not working[0]:
            return
        try:
            client.log_batch(run.info.run_id, metrics=_metrics(step, values, started_unix_s))
        except (MlflowException, OSError) as error:
            working[0] = False
            log.warning("MLflow stopped answering, so the curves are no longer shown live: %s", error)

    return follow


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
    """Complete a run in MLflow from its files; doing so twice leaves one run.

    Args:
        store: the record that `init_store` wrote.
        plan: becomes parameters, flattened; its `path` is the run's identity.
        run: the content of `run.json`.
        history: the curves, columns of `HISTORY`.
        metrics: the run's evaluation, columns of `METRICS`; shown as means over cases.
        tags: further tags, e.g. the dataset's license.
        artifacts: folder in the run to the files that it shows.

    Returns:
        A record of what is in the store: the run's id and path.
    """
    uri, experiment, path = read_record(store)["uri"], plan["dataset"], plan["path"]
    client = MlflowClient(uri)
    found = _find_or_create(client, experiment, path)
    identity = found.info.run_id
    known = set(found.data.params)
    params = [Param(key, value) for key, value in flatten(plan).items() if key not in known]
    told = {"commit": run["commit"], "version": run["versions"]["diffufuse"], "device": run["device"], **tags}
    client.log_batch(identity, params=params, tags=[RunTag(key, str(value)) for key, value in told.items()])
    points = [
        point
        for step, rows in history.groupby("step")
        for point in _metrics(
            int(str(step)), dict(zip(rows["quantity"], rows["value"], strict=True)), run["started_unix_s"]
        )
    ]
    points += _metrics(0, _test_means(metrics) | {"duration_s": run["duration_s"]}, run["started_unix_s"])
    for first in range(0, len(points), METRICS_PER_CALL):
        client.log_batch(identity, metrics=points[first : first + METRICS_PER_CALL])
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
    """Show what a study found as one run of the experiment `studies`; doing so again replaces it.

    Args:
        store: the record that `init_store` wrote.
        study: its block of the configuration; becomes parameters.
        summary: statistics over patients, columns of `SUMMARY`; shown as means.
        artifacts: folder in the run to the files that it shows; a picture keeps its folders below the study's.

    Returns:
        A record of what is in the store: the run's id and path.
    """
    uri, path = read_record(store)["uri"], f"study/{study['name']}"
    client = MlflowClient(uri)
    if client.get_experiment_by_name(STUDIES) is None:
        home = (Path(store).parent / "artifacts" / STUDIES).absolute().as_uri()
        client.create_experiment(STUDIES, artifact_location=home)
    _forget(client, STUDIES, path)
    identity = _find_or_create(client, STUDIES, path).info.run_id
    client.log_batch(identity, params=[Param(key, value) for key, value in flatten(study).items()])
    names = summary[["dataset", "condition", "trained_on", "model", "region", "metric"]].agg(".".join, axis=1)
    points = _metrics(0, dict(zip(names, summary["mean"], strict=True)), 0.0)
    for first in range(0, len(points), METRICS_PER_CALL):
        client.log_batch(identity, metrics=points[first : first + METRICS_PER_CALL])
    for folder, files in artifacts.items():
        for file in files:
            below = Path(file).parts[Path(file).parts.index(study["name"]) + 1 : -1] if folder == "pictures" else ()
            client.log_artifact(identity, file, "/".join([folder, *below]))
    client.set_terminated(identity, "FINISHED")
    return {"run_id": identity, "path": path}


def flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as one level of dotted names; lists of scalars become one text."""
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


def _runs(client: MlflowClient, experiment: str, path: str) -> tuple[str, list[Run]]:
    found = client.get_experiment_by_name(experiment)
    identity = found.experiment_id if found else client.create_experiment(experiment)
    return identity, client.search_runs([identity], f"tags.path = '{path}'")


def _forget(client: MlflowClient, experiment: str, path: str) -> None:
    for run in _runs(client, experiment, path)[1]:
        client.delete_run(run.info.run_id)


def _find_or_create(client: MlflowClient, experiment: str, path: str) -> Run:
    identity, runs = _runs(client, experiment, path)
    return runs[0] if runs else client.create_run(identity, run_name=path.split("/", 2)[-1], tags={"path": path})


def _metrics(step: int, values: Mapping[str, float], started_unix_s: float) -> list[Metric]:
    # The time is derived from the step, so that replaying a curve meets the points it already has.
    time_ms = int(started_unix_s * 1000) + int(step)
    return [Metric(key, value, time_ms, int(step)) for key, value in values.items() if not math.isnan(value)]


def _test_means(metrics: pd.DataFrame) -> dict[str, float]:
    names = "test." + metrics["condition"] + "." + metrics["region"] + "." + metrics["metric"]
    return {str(name): float(value) for name, value in metrics["value"].groupby(names).mean().items()}
