"""The MLflow tracking store, and the run of a path in it."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from diffufuse.errors import BadInput
from diffufuse.files.records import write_record


def init_store(record: str | os.PathLike[str]) -> None:
    """Create the store once, before several jobs write to it.

    The store is `MLFLOW_TRACKING_URI` if set, else `mlflow.db` in the folder of the record.

    Args:
        record: JSON file with the store's address, read by later jobs.

    Raises:
        BadInput: the address holds a user or a password, which the record would expose.
    """
    folder = Path(record).parent
    folder.mkdir(parents=True, exist_ok=True)
    uri = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{(folder / 'mlflow.db').as_posix()}")
    _require_no_credentials(uri)
    MlflowClient(uri).search_experiments(max_results=1)  # creates its tables
    write_record({"uri": uri}, record)


def ensure_experiment(client: MlflowClient, store: str | os.PathLike[str], name: str) -> None:
    """Create an experiment, with its artifacts next to the store's record, unless it exists.

    Args:
        client: of the store.
        store: the record written by `init_store`.
        name: of the experiment.
    """
    if client.get_experiment_by_name(name) is not None:
        return
    artifacts = (Path(store).parent / "artifacts" / name).absolute().as_uri()
    try:
        client.create_experiment(name, artifact_location=artifacts)
    except MlflowException:  # another job may have created it meanwhile
        if client.get_experiment_by_name(name) is None:
            raise


def _require_no_credentials(uri: str) -> None:
    address = urlsplit(uri)
    if address.username or address.password or parse_qsl(address.query, keep_blank_values=True):
        raise BadInput(
            "MLFLOW_TRACKING_URI: expected an address without user, password and parameters, as results/ keeps it; "
            f"got one at {address.hostname}. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead, or "
            "PGPASSWORD for a database."
        )


def _runs(client: MlflowClient, experiment: str, path: str) -> tuple[str, list[Run]]:
    existing = client.get_experiment_by_name(experiment)
    if existing is None:
        raise MlflowException(f"expected an experiment {experiment}, but there is none")
    identity = existing.experiment_id
    return identity, client.search_runs([identity], f"tags.path = '{path}'")


def forget(client: MlflowClient, experiment: str, path: str) -> None:
    """Delete the runs of a path."""
    for run in _runs(client, experiment, path)[1]:
        client.delete_run(run.info.run_id)


def find_or_create(client: MlflowClient, experiment: str, path: str) -> Run:
    """The run with the tag `path`, created if there is none."""
    identity, runs = _runs(client, experiment, path)
    return runs[0] if runs else client.create_run(identity, run_name=path.split("/", 2)[-1], tags={"path": path})


def points(step: int, values: Mapping[str, float], started_unix_s: float) -> list[Metric]:
    """MLflow metrics of one step, without undefined values."""
    # The time is derived from the step, so that replaying a curve writes the same points again.
    time_ms = int(started_unix_s * 1000) + int(step)
    return [Metric(key, value, time_ms, int(step)) for key, value in values.items() if not math.isnan(value)]
